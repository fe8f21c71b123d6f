"use strict";
// A card in JupyterLab's launcher. JupyterLab loads this file as one of webpack's remote containers, which here is
// written by hand, so that nothing has to be built: `init` hands over what it shares, `get` gives the module that it
// asks for. `python -m workbench install` puts it where JupyterLab looks.
(() => {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const command = "workbench:new-study";
  let shared = {};

  const borrow = async (name) => {
    const versions = Object.values(shared[name] || {});
    const entry = versions.find((version) => version.loaded) || versions[0];
    if (!entry) throw new Error(`JupyterLab does not share ${name}`);
    return (await entry.get())();
  };

  // The server names a new file itself and renames it to no name that is taken: nothing is ever overwritten.
  const create = async (contents, path) => {
    const folder = await contents.get(path);
    const taken = new Set(folder.content.map((item) => item.name));
    let name = "study.ipynb";
    for (let i = 2; taken.has(name); i++) name = `study_${i}.ipynb`;
    const made = await contents.newUntitled({ path, type: "notebook" });
    return contents.rename(made.path, path ? `${path}/${name}` : name);
  };

  const newStudy = async (app, path) => {
    const answer = await fetch(`${folder}study.json`);
    if (!answer.ok) throw new Error(`${answer.status}: run python -m workbench install again`);
    const content = await answer.json();
    const contents = app.serviceManager.contents;
    const made = await create(contents, path);
    const named = (text) => text.replaceAll("NAME.ipynb", made.name);
    for (const cell of content.cells) cell.source = [].concat(cell.source).map(named).join("");
    await contents.save(made.path, { type: "notebook", format: "json", content });
    return app.commands.execute("docmanager:open", { path: made.path, factory: "Notebook" });
  };

  const plugin = async () => {
    const { ILauncher } = await borrow("@jupyterlab/launcher");
    const { IDefaultFileBrowser } = await borrow("@jupyterlab/filebrowser");
    const { ICommandPalette, showErrorMessage } = await borrow("@jupyterlab/apputils");
    const activate = (app, launcher, browser, palette) => {
      app.commands.addCommand(command, {
        label: "New study",
        caption: "A notebook that asks a question first and answers it last",
        execute: async (args) => {
          try {
            return await newStudy(app, args.cwd ?? browser?.model.path ?? "");
          } catch (error) {
            return showErrorMessage("The study could not be made", error);
          }
        },
      });
      launcher?.add({ command, category: "Notebook", rank: 100, kernelIconUrl: `${folder}logo.svg` });
      palette?.addItem({ command, category: "workbench" });
    };
    return { id: "workbench:launcher", autoStart: true, optional: [ILauncher, IDefaultFileBrowser, ICommandPalette], activate };
  };

  (globalThis._JUPYTERLAB ||= {}).workbench = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();
