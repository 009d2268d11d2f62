// Paper has no folds: they are open while the page is printed. Plots are drawn at the width of the paper.
const opened = [];
const plots = (size) => {
  for (const plot of document.querySelectorAll(".js-plotly-plot")) window.Plotly.relayout(plot, size);
};
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details:not([open])")) {
    fold.open = true;
    opened.push(fold);
  }
  plots({ autosize: false, width: 660 });
});
addEventListener("afterprint", () => {
  for (const fold of opened.splice(0)) fold.open = false;
  plots({ autosize: true, width: null });
});
