"""The house style of figures: for an unknown background, for light and for dark.

A figure carries the neutral one; a report swaps it for its reader's theme. Colours stay apart for readers
with any colour vision (Okabe and Ito, 2008), their brightness tuned to each background.
"""

from __future__ import annotations

from ..errors import UnknownNameError

HOUSE = "workbench"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_THEMES = {
    "neutral": {
        "ink": "#7a7f85",
        "strong": "#7a7f85",
        "grid": "rgba(128,128,128,.22)",
        "line": "rgba(128,128,128,.55)",
        "card": "rgba(250,250,250,.96)",
        "card_ink": "#1f2328",
        "colors": ["#2585c7", "#dd6a17", "#1aa078", "#c070a0", "#b98a0f", "#6c8fd6", "#808890"],
        "diverging": ["#c8560a", "#dd9b6a", "rgba(128,128,128,.12)", "#6fa8d6", "#1c6fae"],
        "sequential": ["rgba(128,128,128,.12)", "#6fa8d6", "#1c6fae"],
    },
    "light": {
        "ink": "#565d66",
        "strong": "#1b1f24",
        "grid": "#e8eaed",
        "line": "#b4bac2",
        "card": "rgba(255,255,255,.97)",
        "card_ink": "#1b1f24",
        "colors": ["#0072b2", "#d55e00", "#00876c", "#a8558a", "#a87700", "#4a78c9", "#6b7280"],
        "diverging": ["#b34700", "#e9b48c", "#f6f6f4", "#8fbfe0", "#005e94"],
        "sequential": ["#f1f5f9", "#8fbfe0", "#005e94"],
    },
    "dark": {
        "ink": "#a3abb5",
        "strong": "#e8eaed",
        "grid": "#2a3037",
        "line": "#4c5560",
        "card": "rgba(32,37,43,.97)",
        "card_ink": "#e8eaed",
        "colors": ["#56a9e8", "#f0883e", "#2bb891", "#d68fbd", "#e3b341", "#8fa2f0", "#9aa4ad"],
        "diverging": ["#f0883e", "#8a5633", "#22272d", "#38648a", "#56a9e8"],
        "sequential": ["#22272d", "#38648a", "#56a9e8"],
    },
}

COLORS = len(_THEMES["neutral"]["colors"])


def template(theme: str = "neutral") -> dict:
    """The house style as a plotly template.

    Parameters
    ----------
    theme : {"neutral", "light", "dark"}, default "neutral"
        ``neutral`` reads on any background: for a notebook whose theme isn't known.

    Returns
    -------
    dict
        To be used as ``figure.update_layout(template=...)``. Backgrounds are transparent.
    """
    if theme not in _THEMES:
        raise UnknownNameError.of("theme", theme, _THEMES)
    t = _THEMES[theme]
    axis = {
        "gridcolor": t["grid"],
        "linecolor": t["line"],
        "zerolinecolor": t["line"],
        "zerolinewidth": 1,
        "tickcolor": t["line"],
        "ticks": "",
        "automargin": True,
        "title": {"standoff": 10, "font": {"size": 12}},
        "tickfont": {"size": 12},
    }
    scales = {
        name: [[i / (len(colors) - 1), color] for i, color in enumerate(colors)]
        for name, colors in (
            ("diverging", t["diverging"]),
            ("sequential", t["sequential"]),
            ("sequentialminus", t["sequential"][::-1]),
        )
    }
    up, down = t["colors"][0], t["colors"][1]
    return {
        "layout": {
            "meta": HOUSE,
            "font": {"family": _FONT, "size": 13, "color": t["ink"]},
            "title": {
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 10},
                "font": {"size": 15, "weight": 600, "color": t["strong"]},
            },
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": t["colors"],
            "colorscale": scales,
            "hovermode": "x unified",
            "hoverlabel": {
                "bgcolor": t["card"],
                "bordercolor": t["line"],
                "font": {"color": t["card_ink"], "family": _FONT, "size": 12},
                "align": "left",
            },
            "autotypenumbers": "strict",
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
                "bgcolor": "rgba(0,0,0,0)",
            },
            "margin": {"l": 56, "r": 16, "t": 46, "b": 36},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": t["line"], "activecolor": t["strong"]},
            "xaxis": {**axis, "showgrid": False, "showline": True, "ticks": "outside", "ticklen": 4},
            "yaxis": axis,
            "coloraxis": {"colorbar": {"outlinewidth": 0, "thickness": 12}},
            "annotationdefaults": {
                "font": {"color": t["ink"]},
                "arrowcolor": t["line"],
                "arrowhead": 0,
                "arrowwidth": 1,
            },
            "shapedefaults": {"line": {"color": t["ink"]}},
        },
        "data": {
            "candlestick": [
                {
                    "increasing": {"line": {"color": up, "width": 1}, "fillcolor": up},
                    "decreasing": {"line": {"color": down, "width": 1}, "fillcolor": down},
                }
            ],
            "heatmap": [{"colorscale": scales["diverging"], "colorbar": {"outlinewidth": 0, "thickness": 12}}],
            "bar": [{"marker": {"line": {"width": 0}}}],
        },
    }


def ink(theme: str) -> dict:
    """What of the house style a foreign figure takes on: readable text, axes and backgrounds; nothing else.

    Parameters
    ----------
    theme : {"neutral", "light", "dark"}

    Returns
    -------
    dict
        A part of a plotly layout, to be laid over a template's.
    """
    house = template(theme)["layout"]
    axis = {k: house["yaxis"][k] for k in ("gridcolor", "linecolor", "zerolinecolor", "tickcolor")}
    scene = {**axis, "backgroundcolor": "rgba(0,0,0,0)"}
    names = ("paper_bgcolor", "plot_bgcolor", "hoverlabel", "modebar", "annotationdefaults", "shapedefaults")
    return {
        **{name: house[name] for name in names},
        "font": {"color": house["font"]["color"]},
        "title": {"font": {"color": house["title"]["font"]["color"]}},
        "legend": {"bgcolor": house["legend"]["bgcolor"]},
        "xaxis": axis,
        "yaxis": axis,
        "polar": {"bgcolor": "rgba(0,0,0,0)", "angularaxis": axis, "radialaxis": axis},
        "scene": {"xaxis": scene, "yaxis": scene, "zaxis": scene},
    }
