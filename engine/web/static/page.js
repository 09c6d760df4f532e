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
  player.onloadedmetadata = () => {
    const most = limit("maxSeconds");
    if (Number.isFinite(player.duration) && player.duration > most + 1)
      box.prepend(notice(`The clip lasts ${minutes(player.duration)}, and the limit is ${minutes(most)}. Cut out the part in question.`));
  };
  box.append(player);
};
// Limits are checked here too, so that nobody waits for an upload that is refused.
const limit = name => Number(document.querySelector(".ffdv-header").dataset[name]);
const minutes = seconds => {
  const [whole, rest] = [Math.floor(Math.round(seconds) / 60), Math.round(seconds) % 60];
  return [whole && `${whole} min`, (rest || !whole) && `${rest} s`].filter(Boolean).join(" ");
};
const megabytes = bytes => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
const notice = text => {
  const line = document.createElement("p");
  Object.assign(line, { className: "notice", role: "alert", textContent: text });
  return line;
};
const chosen = (event, files) => {
  if (!files || !files.length || !event.target.closest || !event.target.closest("#drop")) return;
  const file = files[0], most = limit("maxBytes");
  if (file.size <= most) return showPreview(file);
  event.stopImmediatePropagation();
  event.preventDefault();
  if (event.type === "change") event.target.value = "";
  showPreview(null);
  document.getElementById("preview").append(
    notice(`The file has ${megabytes(file.size)}, and the limit is ${megabytes(most)}. Choose a shorter or smaller copy.`));
};
document.addEventListener("change", event => chosen(event, event.target.files), true);
document.addEventListener("drop", event => chosen(event, event.dataTransfer && event.dataTransfer.files), true);
// On narrow screens the progress and the result are below the buttons. The page is high enough to scroll once the evidence is there.
let awaited = false;
const showResult = () => {
  const region = document.getElementById("result");
  if (region && region.getBoundingClientRect().top > 0.5 * innerHeight) region.scrollIntoView({ block: "start" });
};
document.addEventListener("click", event => {
  if (!event.target.closest || !event.target.closest(".scores")) return;
  awaited = true;
  showResult();
});
// The frame with the evidence page is as high as the page.
window.ffdvFit = frame => {
  const fit = () => { frame.style.height = `${frame.contentDocument.documentElement.scrollHeight}px`; };
  new ResizeObserver(fit).observe(frame.contentDocument.body);
  fit();
  if (awaited) showResult();
  awaited = false;
};
// Screen readers announce results.
new MutationObserver(records => {
  for (const id of ["result", "batch"]) {
    const region = document.getElementById(id);
    if (region && !region.hasAttribute("aria-live")) region.setAttribute("aria-live", "polite");
  }
  const isResult = node => node.nodeType === 1 && (node.matches(".ffdv-result") || node.querySelector(".ffdv-result"));
  if (awaited && records.some(record => [...record.addedNodes].some(isResult))) requestAnimationFrame(showResult);
}).observe(document.documentElement, { childList: true, subtree: true });
