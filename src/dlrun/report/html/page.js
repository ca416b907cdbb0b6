"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = [...document.querySelectorAll("[data-chart]")];
  const NARROW = 420; // pixels, below which two names of a legend do not fit beside each other
  let drawing = 0;

  // Panels beside each other, as many as there is room for.
  const fitted = (given, width) => {
    const spec = { ...given };
    if (spec.columns) {
      const inner = spec.spec || (spec.concat && spec.concat[0]) || {};
      spec.columns = Math.max(1, Math.min(spec.columns, Math.floor((width - 10) / ((inner.width || 230) + 60))));
    }
    return spec;
  };

  const draw = async () => {
    const mine = ++drawing;
    document.documentElement.dataset.drawn = "no";
    const config = dark.matches ? data.dark : data.light;
    for (const view of views) {
      if (mine !== drawing) return;
      const { spec, renderer } = data.charts[view.dataset.chart];
      const legend = { ...config.legend, columns: view.clientWidth < NARROW ? 1 : config.legend.columns };
      await window.vegaEmbed(view, fitted(spec, view.clientWidth), { actions: false, renderer, config: { ...config, legend } });
      for (const image of view.querySelectorAll("svg, canvas")) image.setAttribute("aria-hidden", "true"); // the view has a label
      const box = view.parentElement; // where it scrolls, the keyboard scrolls it
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
      await new Promise((resolve) => setTimeout(resolve));
    }
    document.documentElement.dataset.drawn = "yes";
  };

  // Numbers by size, what has none behind them; else as texts. "0.94 to 0.96" counts as its first number.
  const number = (text) => (/^[+-]?(\d|\.\d)/.test(text) ? parseFloat(text.replace(/,/g, "")) : NaN);
  const order = (a, b) => {
    const x = number(a), y = number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return a.localeCompare(b);
  };

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
      const down = heading.getAttribute("aria-sort") === "ascending";
      const place = Number(button.dataset.column);
      const text = (row) => row.cells[place].textContent.trim();
      const rows = [...body.rows].sort((a, b) => {
        const empty = (text(a) === "") - (text(b) === "");
        return empty || (down ? -1 : 1) * order(text(a), text(b));
      });
      for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
    });
  }

  for (const input of document.querySelectorAll("input[data-table]")) {
    const table = document.getElementById(input.dataset.table);
    const rows = [...table.tBodies[0].rows];
    const count = document.querySelector(`output[for="${input.id}"]`);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      table.classList.toggle("filtered", words.length > 0);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
    });
  }

  for (const button of document.querySelectorAll(".more button")) {
    const all = button.textContent;
    button.addEventListener("click", () => {
      const first = document.getElementById(button.getAttribute("aria-controls")).classList.toggle("first");
      button.setAttribute("aria-expanded", String(!first));
      button.textContent = first ? all : "Show the first rows alone";
    });
  }

  dark.addEventListener("change", draw);
  draw();
})();
