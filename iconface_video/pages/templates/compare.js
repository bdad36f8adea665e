"use strict";
// The divider of each figure; where it shows films, one play button and one seek bar for both.
for (const figure of document.querySelectorAll("figure")) {
  const view = figure.querySelector(".view"), range = view.querySelector("input");
  const move = value => {
    range.value = value;
    view.style.setProperty("--at", value / 10 + "%");
    view.querySelector(".left").hidden = value < 120;
    view.querySelector(".right").hidden = value > 880;
  };
  range.addEventListener("input", () => move(range.value));
  for (const button of figure.querySelectorAll("[data-to]")) button.addEventListener("click", () => move(button.dataset.to));
  figure.querySelector(".size").addEventListener("click", event => {
    event.target.setAttribute("aria-pressed", view.classList.toggle("real"));
  });

  const [lead, follow] = [figure.querySelector("video.a"), figure.querySelector("video.b")];
  if (!lead) continue;
  const play = figure.querySelector(".play"), seek = figure.querySelector(".seek");
  play.addEventListener("click", () => {
    if (lead.paused) {
      follow.currentTime = lead.currentTime;
      lead.play();
      follow.play();
    } else {
      lead.pause();
      follow.pause();
      follow.currentTime = lead.currentTime;
    }
  });
  for (const name of ["play", "pause", "ended"]) {
    lead.addEventListener(name, () => { play.textContent = lead.paused ? "Play" : "Pause"; });
  }
  lead.addEventListener("ended", () => follow.pause());
  lead.addEventListener("timeupdate", () => {
    if (lead.duration) seek.value = 1000 * lead.currentTime / lead.duration;
    if (Math.abs(follow.currentTime - lead.currentTime) > .08) follow.currentTime = lead.currentTime;
  });
  seek.addEventListener("input", () => {
    if (lead.duration) lead.currentTime = follow.currentTime = seek.value / 1000 * lead.duration;
  });
}
