// Shows a chosen clip from the visitor's own disk: the copy on the server is deleted after scoring.
const showPreview = file => {
  const box = document.getElementById("preview");
  if (!box) return;
  box.querySelectorAll("[src]").forEach(player => URL.revokeObjectURL(player.src));
  box.replaceChildren();
  if (!file || !/^(video|audio)\//.test(file.type)) return;
  const player = document.createElement(file.type.startsWith("audio/") ? "audio" : "video");
  Object.assign(player, { controls: true, playsInline: true, src: URL.createObjectURL(file) });
  player.setAttribute("aria-label", "Preview of the chosen clip");
  player.onerror = () => { box.textContent = "This browser cannot play the clip. It can be scored all the same."; };
  box.append(player);
};
const chosen = (event, files) => {
  if (files && files.length && event.target.closest && event.target.closest("#drop")) showPreview(files[0]);
};
document.addEventListener("change", event => chosen(event, event.target.files), true);
document.addEventListener("drop", event => chosen(event, event.dataTransfer && event.dataTransfer.files), true);
// On narrow screens the progress and the result are below the buttons.
const showResult = () => {
  const region = document.getElementById("result");
  if (region && region.getBoundingClientRect().top > 0.5 * innerHeight) region.scrollIntoView({ block: "start" });
};
document.addEventListener("click", event => {
  if (event.target.closest && event.target.closest(".scores")) showResult();
});
// The frame with the evidence page is as high as the page.
window.ffdvFit = frame => {
  const fit = () => { frame.style.height = `${frame.contentDocument.documentElement.scrollHeight}px`; };
  new ResizeObserver(fit).observe(frame.contentDocument.body);
  fit();
};
// Screen readers announce results.
new MutationObserver(() => {
  for (const id of ["result", "batch"]) {
    const region = document.getElementById(id);
    if (region && !region.hasAttribute("aria-live")) region.setAttribute("aria-live", "polite");
  }
}).observe(document.documentElement, { childList: true, subtree: true });
