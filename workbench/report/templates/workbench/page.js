"use strict";
(() => {
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => root.dataset.theme || (prefersDark.matches ? "dark" : "light");
  const drawn = [];
  let themes = {};

  const inflate = async (id) => {
    const packed = atob(document.getElementById(id).textContent);
    const bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };

  const merge = (below, above) => {
    const both = { ...below };
    for (const [key, value] of Object.entries(above)) {
      const nested = value && typeof value === "object" && !Array.isArray(value);
      both[key] = nested ? merge(both[key] || {}, value) : value;
    }
    return both;
  };

  // A figure in the house style takes the theme whole; a foreign one keeps its shape and takes the ink. One that has
  // set a background of its own was made for that background and stays as it is.
  const themed = (layout, name) => {
    if (!layout.template) return themes[name].house;
    if (layout.paper_bgcolor || layout.plot_bgcolor) return layout.template;
    return merge(layout.template, { layout: themes[name].ink });
  };

  const retheme = (name, extra) => {
    for (const { box, layout } of drawn) Plotly.relayout(box, { template: themed(layout, name), ...extra });
  };

  const draw = async (box, figure) => {
    const layout = figure.layout || {};
    const name = theme();
    const own = { ...layout, template: themed(layout, name) };
    const config = { ...figure.config, responsive: true, displaylogo: false };
    box.replaceChildren();
    await Plotly.newPlot(box, { data: figure.data, layout: own, frames: figure.frames || [], config });
    drawn.push({ box, layout });
    if (theme() !== name) Plotly.relayout(box, { template: themed(layout, theme()) });
  };

  const drawAll = async () => {
    performance.mark("figures-begun");
    const boxes = [...document.querySelectorAll(".figure[data-figure]")];
    if (typeof DecompressionStream === "undefined") {
      for (const box of boxes) box.prepend("This browser is too old to draw the figure; here are its numbers.");
      return;
    }
    const [data, code] = await Promise.all([inflate("figures"), inflate("plotly")]);
    const stored = JSON.parse(data);
    themes = stored.themes;
    const library = document.createElement("script");
    library.textContent = code;
    document.head.append(library);
    for (const box of boxes) {
      try {
        await draw(box, stored.figures[box.dataset.figure]);
      } catch (error) {
        box.prepend(`This figure could not be drawn: ${error.message}`);
        console.error(error);
      }
      await new Promise((next) => setTimeout(next));
    }
    root.dataset.figures = "drawn";
  };

  const themeButton = document.getElementById("theme");
  const foldButton = document.getElementById("fold");
  const label = () => (themeButton.textContent = theme() === "dark" ? "Light" : "Dark");
  const follow = () => {
    label();
    retheme(theme());
  };
  themeButton.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    follow();
  });
  prefersDark.addEventListener("change", follow);
  foldButton.addEventListener("click", () => {
    const cells = [...document.querySelectorAll("details.source")];
    const open = cells.some((cell) => cell.open);
    for (const cell of cells) cell.open = !open;
    foldButton.textContent = open ? "Unfold code" : "Fold code";
    foldButton.setAttribute("aria-pressed", String(open));
  });
  foldButton.hidden = !document.querySelector("details.source");
  document.querySelector(".tools").hidden = false;
  label();

  // Paper is light and narrow.
  addEventListener("beforeprint", () => retheme("light", { autosize: false, width: 680 }));
  addEventListener("afterprint", () => retheme(theme(), { autosize: true, width: null }));

  // Once the text is on the screen; a page that isn't on screen is never painted, so it need not wait.
  if (document.getElementById("figures")) {
    let begun = false;
    const begin = () => begun || ((begun = true), setTimeout(drawAll));
    if (document.hidden || !PerformanceObserver.supportedEntryTypes?.includes("paint")) begin();
    document.addEventListener("visibilitychange", begin);
    const painted = (list) => list.getEntriesByName("first-contentful-paint").length && begin();
    new PerformanceObserver(painted).observe({ type: "paint", buffered: true });
  }
})();
