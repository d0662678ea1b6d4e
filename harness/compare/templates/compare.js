"use strict";
// The filter of the findings: all, one kind, or those that changed.

for (const section of document.querySelectorAll(".pairing")) {
  const buttons = section.querySelectorAll(".filter button");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const kind = button.dataset.kind;
      for (const b of buttons) b.setAttribute("aria-pressed", b === button);
      for (const row of section.querySelectorAll(".changes tr[data-kind]")) {
        row.hidden = kind === "changed" ? row.dataset.kind === "same" : kind !== "" && row.dataset.kind !== kind;
      }
    });
  }
}
