// What the user sets: the time line, the panel, and the keyboard. Text is set by textContent only.

// ---- steps of a photograph, frames of a video -----------------------------------------------
const STEP_S = 0.35;  // how long a step of a photograph is shown
let playing = null;

function setStep(step) {
  slider.value = step;
  describe();
  draw();
}

function describe() {
  const step = stepNow();
  const words = video ? `frame ${step} of ${lastStep}, ${(step / data.fps).toFixed(2)} s`
    : step === lastStep ? `step ${step}: the result` : `step ${step} of ${lastStep}`;
  at("step-words").textContent = words;
  slider.ariaValueText = words;
  at("tracks").style.setProperty("--at", `${100 * share(step)}%`);
  for (const person of persons) {
    const index = indexAt(person.steps, step);
    if (video) {
      person.row.classList.toggle("away", !inTime(person, step));
      person.row.classList.toggle("off", !person.on);
      continue;
    }
    const parts = [`step ${person.steps[index]}`];
    if (person.loss[index] !== null) parts.push(`loss ${person.loss[index].toPrecision(3)}`);
    if (person.error_px[index] !== null) parts.push(`${person.error_px[index].toFixed(1)} px`);
    person.words.textContent = parts.join(", ");
  }
}

function stop() {
  cancelAnimationFrame(playing);
  playing = null;
  at("play").textContent = "play";
}

function play() {
  if (playing !== null) return stop();
  if (stepNow() >= lastStep) setStep(firstStep);
  const start = performance.now(), from = stepNow(), first = indexAt(numbers, from);
  const tick = (now) => {
    const seconds = Math.max(now - start, 0) / 1000;
    const index = video ? indexAt(numbers, from + seconds * data.fps)
      : Math.min(first + Math.floor(seconds / STEP_S), numbers.length - 1);
    if (numbers[index] !== stepNow()) setStep(numbers[index]);
    if (stepNow() >= lastStep) stop();
    else playing = requestAnimationFrame(tick);
  };
  playing = requestAnimationFrame(tick);
  at("play").textContent = "stop";
}

function stepBy(change) {
  stop();
  const index = indexAt(numbers, stepNow()) + change;
  setStep(numbers[Math.min(Math.max(index, 0), numbers.length - 1)]);
}

// ---- persons and tracks ---------------------------------------------------------------------
// Where a step is between the ends of the slider, 0 to 1.
const share = (step) => (step - firstStep) / Math.max(lastStep - firstStep, 1);

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

// A box that hides a person, and its colour.
function boxOf(person) {
  const box = made("input"), swatch = made("span", "dot");
  box.type = "checkbox";
  box.checked = true;
  box.onchange = () => { person.on = box.checked; describe(); draw(); };
  swatch.style.background = person.colour;
  return [box, swatch];
}

function listPerson(person) {
  const row = made("label");
  row.append(...boxOf(person), made("span", "", `person ${person.number}`));
  person.words = made("div", "numbers");
  at("persons").append(row, person.words);
}

// The first and the last frame of each time that a person is seen.
function runsOf(person) {
  const runs = [];
  let open = null;
  person.steps.forEach((frame, index) => {
    if (isFilled(person, index)) open = null;
    else if (open) open[1] = frame;
    else runs.push(open = [frame, frame]);
  });
  return runs;
}

function listTrack(person) {
  const row = made("div", "track"), head = made("div"), times = made("div", "times");
  const name = made("button", "", `person ${person.number}`), runs = runsOf(person);
  const [box, swatch] = boxOf(person);
  box.ariaLabel = `show person ${person.number}`;
  name.type = "button";
  name.title = "go to its first frame";
  name.onclick = () => { stop(); setStep(person.steps[0]); };
  head.append(box, swatch, name);
  for (const [first, last] of runs) {
    const run = made("span");
    run.style.left = `${100 * share(first)}%`;
    run.style.width = `${100 * (share(last) - share(first))}%`;
    run.style.background = person.colour;
    times.append(run);
  }
  times.append(made("i"));
  times.role = "img";
  times.ariaLabel = `in frames ${runs.map(([first, last]) => `${first} to ${last}`).join(", ")}`;
  times.title = times.ariaLabel;
  times.onpointerdown = (event) => { times.setPointerCapture(event.pointerId); seek(times, event); };
  times.onpointermove = (event) => { if (event.buttons) seek(times, event); };
  row.append(head, times);
  person.row = row;
  at("tracks").append(row);
}

function seek(times, event) {
  const box = times.getBoundingClientRect();
  const frame = firstStep + (event.clientX - box.left) / box.width * (lastStep - firstStep);
  stop();
  setStep(numbers[indexAt(numbers, frame)]);
}

// ---- the keyboard ---------------------------------------------------------------------------
const KEYS = {
  ArrowLeft: () => stepBy(-1),
  ArrowRight: () => stepBy(1),
  Home: () => { stop(); setStep(firstStep); },
  End: () => { stop(); setStep(lastStep); },
  " ": play,
};

function onKey(event) {
  const act = KEYS[event.key], focused = event.target;
  if (!act || event.ctrlKey || event.metaKey || event.altKey || numbers.length < 2) return;
  // Space on a button or a box is theirs.
  if (event.key === " " && focused !== slider && focused.matches("button, input")) return;
  event.preventDefault();
  act();
}

// ---- setting up -----------------------------------------------------------------------------
function ready() {
  resize();
  document.documentElement.dataset.ready = "yes";
}

function hide(selector) {
  for (const each of document.querySelectorAll(selector)) (each.closest("label") || each).hidden = true;
}

function setUpPanel() {
  persons.forEach(video ? listTrack : listPerson);
  at("tracks").hidden = !video;
  if (!persons.length) at("persons").textContent = "Nobody was recovered.";
  const count = persons.length === 1 ? "1 body" : `${persons.length} bodies`;
  at("scene").ariaLabel = `${count} in 3D`;
  at("bar").style.background = `linear-gradient(to right, ${data.scale.colours.join(", ")})`;
  at("full").textContent = `${data.scale.full_cm} cm and more`;
  if (!persons.some((person) => person.tints !== null)) hide("[data-shows=uncertainty]");
  if (!persons.some((person) => person.observed.length)) hide("[data-shows=keypoints], #legend");
  if (persons.length < 2) hide("[data-shows=numbers]");
  if (!backdrop) hide("[data-view=photograph], [data-shows=photograph]");
  if (video) {
    document.querySelector("[data-view=photograph]").textContent = "video";
    document.querySelector("[data-shows=photograph] + span").textContent = "video";
  }
}

// A file that is dropped must not replace the page; in the demo, the page around this one takes it.
function passDrops() {
  for (const name of ["dragenter", "dragover", "drop"]) {
    window.addEventListener(name, (event) => {
      event.preventDefault();
      if (window.parent !== window && name !== "drop") window.parent.postMessage("drag", "*");
    });
  }
}

function listen() {
  slider.oninput = () => { stop(); setStep(stepNow()); };
  at("play").onclick = play;
  for (const box of document.querySelectorAll("[data-shows]")) {
    shows[box.dataset.shows] = box.checked;  // a browser may keep them when a page is read again
    box.onchange = () => { shows[box.dataset.shows] = box.checked; draw(); };
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.onclick = () => { view = button.dataset.view; look(); };
  }
  at("reset").onclick = () => {
    stop();
    view = firstView;
    slider.value = atStart;
    describe();
    look();
  };
  controls.addEventListener("start", () => { moved = true; });
  controls.addEventListener("change", draw);
  window.addEventListener("keydown", onKey);
  window.addEventListener("resize", resize);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

setUpPanel();
listen();
passDrops();
[slider.min, slider.max] = [firstStep, lastStep];
at("time").hidden = numbers.length < 2;
slider.value = atStart;
describe();
if (!backdrop || showPicture(ready)) ready();
