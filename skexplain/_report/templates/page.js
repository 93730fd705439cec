"use strict";
(() => {
  // tables: a button in each head sorts by its column, numbers as numbers, what is missing last
  const key = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
  };
  const before = (a, b) => {
    if (a === "" || b === "") return a === b ? 0 : null;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const body = table.tBodies[0];
        const numbers = [...body.rows].some((row) => "value" in row.cells[column].dataset);
        const now = head.getAttribute("aria-sort");
        const down = now === null ? numbers : now === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row, place) => ({ row, place, value: key(row, column) }));
        rows.sort((a, b) => {
          const order = before(a.value, b.value);
          if (order === null) return a.value === "" ? 1 : -1;
          return (down ? -order : order) || a.place - b.place;
        });
        body.append(...rows.map((entry) => entry.row));
      });
    });
  }
  // single rows: one at a time, by buttons or arrow keys; without this script all are there, one below the other
  for (const group of document.querySelectorAll(".steps")) {
    const steps = [...group.querySelectorAll(":scope > .step")];
    const bar = document.createElement("div");
    const place = document.createElement("span");
    bar.className = "stepper";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Rows");
    place.setAttribute("aria-live", "polite");
    let current = 0;
    const buttons = [["Previous", -1], ["Next", 1]].map(([text, by]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => show(current + by));
      return button;
    });
    const show = (k) => {
      current = Math.min(Math.max(k, 0), steps.length - 1);
      steps.forEach((step, i) => { step.hidden = i !== current; });
      buttons[0].disabled = current === 0;
      buttons[1].disabled = current === steps.length - 1;
      place.textContent = `${current + 1} of ${steps.length}`;
    };
    bar.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      show(current + by);
    });
    bar.append(buttons[0], place, buttons[1]);
    group.prepend(bar);
    show(0);
  }
})();
