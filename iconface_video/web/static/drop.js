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
  place.addEventListener("drop", (drag) => {
    drag.preventDefault();
    const files = [...drag.dataTransfer.files];
    if (files.length && !input.disabled) take(files);
  });
}

// A file dropped beside a zone must not replace the page.
for (const event of ["dragover", "drop"]) window.addEventListener(event, (drag) => drag.preventDefault());
