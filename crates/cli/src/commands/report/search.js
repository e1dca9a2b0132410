for (const part of document.querySelectorAll(".searchable")) {
  const label = part.querySelector("label"), field = label && label.querySelector("input");
  if (!field) continue;
  const rows = [...part.querySelectorAll("tbody tr")], count = label.querySelector("output");
  label.hidden = false;
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      if (!row.hidden) shown++;
    }
    count.textContent = wanted ? shown + " of " + rows.length : "";
  });
}
