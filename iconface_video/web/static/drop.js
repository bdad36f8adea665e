// A place where files are dropped, or chosen by click or keyboard: the file field covers it, so both go through it.

export function dropZone(place, input, take) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) take(files);
  });
  for (const event of ["dragenter", "dragover"]) {
    place.addEventListener(event, (drag) => {
      drag.preventDefault();
      place.classList.add("over");
    });
  }
  for (const event of ["dragleave", "drop"]) place.addEventListener(event, () => place.classList.remove("over"));
  place.addEventListener("drop", async (drag) => {
    drag.preventDefault();
    const files = await filesOf(drag.dataTransfer);
    if (files.length && !input.disabled) take(files);
  });
}

// Folders count as the files in them.
async function filesOf(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
  if (!entries.some((entry) => entry && entry.isDirectory)) return [...data.files];
  return (await Promise.all(entries.filter(Boolean).map(filesIn))).flat();
}

async function filesIn(entry) {
  if (entry.isFile) return new Promise((resolve) => entry.file((file) => resolve([file]), () => resolve([])));
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(filesIn))).flat();
}

// A file dropped beside a zone must not replace the page.
for (const event of ["dragover", "drop"]) window.addEventListener(event, (drag) => drag.preventDefault());
