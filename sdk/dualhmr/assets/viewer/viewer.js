"use strict";
// Draws what sdk/dualhmr/rendering/page.py writes into #data. Text is set by textContent only.
// The data's camera frame is x right, y down, z forward; three.js has y up and looks along -z.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const stage = find("stage"), marks = find("marks"), slider = find("step");
  const shows = { photograph: true, mesh: true, wireframe: false, skeleton: false, keypoints: true,
    uncertainty: false };

  function bytes(text) {
    const raw = atob(text);
    const array = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) array[i] = raw.charCodeAt(i);
    return array.buffer;
  }

  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas: find("scene"), antialias: true, alpha: true });
  } catch (error) {
    find("failure").textContent = "This page needs WebGL, which this browser does not offer.";
    find("failure").hidden = false;
    return;
  }
  const scene = new THREE.Scene();
  const camera = new THREE.PerspectiveCamera(35, 1, 0.01, 100);
  const controls = new THREE.OrbitControls(camera, renderer.domElement);
  scene.add(new THREE.HemisphereLight(0xffffff, 0x8d8d99, 1.9));
  const lamp = new THREE.DirectionalLight(0xffffff, 1.9);
  scene.add(lamp, lamp.target);

  // sRGB to what three.js computes with.
  const linearOf = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;

  // ---- bodies -------------------------------------------------------------------------------
  const faces = new Uint32Array(bytes(data.faces));
  const persons = data.persons.map((person) => {
    const geometry = new THREE.BufferGeometry();
    const count = data.vertex_count;
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(3 * count), 3));
    geometry.setIndex(new THREE.BufferAttribute(faces, 1));
    const material = new THREE.MeshStandardMaterial({
      color: new THREE.Color(person.colour), roughness: 0.75, side: THREE.DoubleSide,
    });
    if (person.tints !== null) {
      const tints = new Uint8Array(bytes(person.tints));
      const linear = Float32Array.from(tints, (value) => linearOf(value / 255));
      geometry.setAttribute("color", new THREE.BufferAttribute(linear, 3));
    }
    const mesh = new THREE.Mesh(geometry, material);
    mesh.frustumCulled = false;
    scene.add(mesh);
    const quantised = new Uint16Array(bytes(person.vertices));
    return { ...person, mesh, quantised, at: -1, on: true };
  });
  // Of a video the slider goes through frames, of a photograph through the steps.
  const video = data.fps !== null;
  const numbers = [...new Set(persons.flatMap((person) => person.steps))].sort((a, b) => a - b);
  const firstStep = video && numbers.length ? numbers[0] : 0;
  const lastStep = numbers.length ? numbers.at(-1) : 0;
  const atStart = video ? firstStep : lastStep;
  // A page of results only has one step: its slider does nothing.
  const still = !video && persons.every((person) => person.steps.length === 1);
  const seen = (person) => person.on &&
    (!video || (person.steps[0] <= slider.value && slider.value <= person.steps.at(-1)));

  // The index of what a person shows at a step: the last shown step that is not later.
  function indexAt(person, step) {
    let index = 0;
    while (index + 1 < person.steps.length && person.steps[index + 1] <= step) index++;
    return index;
  }

  function pose(person, index) {
    if (person.at === index) return;
    person.at = index;
    const position = person.mesh.geometry.getAttribute("position");
    const [low, scale, size] = [person.low, person.scale, position.array.length];
    for (let i = 0; i < size; i++) {
      const metres = low[i % 3] + scale * person.quantised[index * size + i];
      position.array[i] = i % 3 === 0 ? metres : -metres;
    }
    position.needsUpdate = true;
    person.mesh.geometry.computeVertexNormals();
  }

  function poseAll() {
    for (const person of persons) pose(person, indexAt(person, Number(slider.value)));
  }

  // ---- the photograph, on a plane behind everybody ------------------------------------------
  const behind = data.behind_m;
  const onPlane = (x, y) => new THREE.Vector3(
    (x - data.center[0]) / data.focal * behind, -(y - data.center[1]) / data.focal * behind, -behind);
  let photograph = null;
  if (data.image !== null) {
    const [width, height] = data.size;
    const corners = [[0, 0], [width, 0], [width, height], [0, height]]
      .map(([x, y]) => onPlane(x - 0.5, y - 0.5).toArray());  // whole numbers are pixel centres
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(corners.flat()), 3));
    geometry.setAttribute("uv", new THREE.BufferAttribute(new Float32Array([0, 1, 1, 1, 1, 0, 0, 0]), 2));
    geometry.setIndex([0, 3, 2, 0, 2, 1]);
    const image = new Image();
    const texture = new THREE.Texture(image);
    texture.colorSpace = THREE.SRGBColorSpace;
    photograph = new THREE.Mesh(
      geometry, new THREE.MeshBasicMaterial({ map: texture, side: THREE.DoubleSide }));
    scene.add(photograph);
    image.onload = () => { texture.needsUpdate = true; ready(); };
    image.src = data.image;
  }

  // ---- marks over the picture: skeleton, keypoints, residuals -------------------------------
  const pen = marks.getContext("2d");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function onScreen(point) {
    const ahead = point.clone().applyMatrix4(camera.matrixWorldInverse).z < 0;
    const at = point.clone().project(camera);
    const [width, height] = [stage.clientWidth, stage.clientHeight];
    return ahead ? [(at.x + 1) / 2 * width, (1 - at.y) / 2 * height] : null;
  }

  function line(from, to, width, style) {
    if (!from || !to) return;
    pen.lineWidth = width;
    pen.strokeStyle = style;
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
  }

  function dot(at, radius, style) {
    if (!at) return;
    for (const [size, fill] of [[radius + 1.5, "#ffffff"], [radius, style]]) {
      pen.fillStyle = fill;
      pen.beginPath();
      pen.arc(at[0], at[1], size, 0, 2 * Math.PI);
      pen.fill();
    }
  }

  function drawMarks() {
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, stage.clientWidth, stage.clientHeight);
    pen.lineCap = "round";
    for (const person of persons.filter(seen)) {
      if (shows.skeleton) {
        const joints = person.joints[person.at].map(([x, y, z]) => onScreen(new THREE.Vector3(x, -y, -z)));
        for (const [width, style] of [[5, "#ffffff"], [2.5, "#2f3136"]]) {
          for (const [one, other] of data.bones) line(joints[one], joints[other], width, style);
        }
        for (const joint of joints) dot(joint, 2.5, "#2f3136");
      }
      if (shows.keypoints) {
        const observed = person.observed.map(([x, y]) => onScreen(onPlane(x, y)));
        const own = person.keypoints[person.at].map((each) => each && onScreen(onPlane(...each)));
        own.forEach((at, k) => line(observed[k], at, 4, "#ffffff"));
        own.forEach((at, k) => line(observed[k], at, 2, "#2f3136"));
        own.forEach((at) => dot(at, 3, colour("--body")));
        observed.forEach((at) => dot(at, 3, colour("--observed")));
      }
    }
  }

  // ---- views ----------------------------------------------------------------------------------
  function extent() {
    const chosen = persons.filter((person) => person.on);
    const points = (chosen.length ? chosen : persons)
      .flatMap((person) => video ? person.joints.flat() : person.joints[person.at]).map(([x, y, z]) => new THREE.Vector3(x, -y, -z));
    const centre = new THREE.Vector3(0, 0, -Math.max(behind, 1));
    if (!points.length) return [centre, 1];
    const [low, high] = [points[0].clone(), points[0].clone()];
    for (const point of points) { low.min(point); high.max(point); }
    centre.addVectors(low, high).multiplyScalar(0.5);
    const far = points.reduce((most, point) => Math.max(most, point.distanceTo(centre)), 0);
    return [centre, far + 0.15];
  }

  const directions = { front: [0, 0, 1], side: [1, 0, 0], top: [0, 1, 0.001] };
  let view = photograph ? "photograph" : "front";
  let moved = false;  // by hand, since the view was chosen

  function look() {
    const aspect = camera.aspect;
    poseAll();
    const [centre, radius] = extent();
    moved = false;
    if (view === "photograph") {
      // The camera that took it, turned to the middle of the photograph.
      const [width, height] = data.size;
      const half = 1.02 * Math.max(height, width / aspect) / 2;
      camera.fov = 2 * Math.atan(half / data.focal) * 180 / Math.PI;
      camera.position.set(0, 0, 0);
      controls.target.copy(onPlane(width / 2, height / 2)).multiplyScalar(-centre.z / behind);
    } else {
      camera.fov = 35;
      const narrow = Math.min(1, aspect) * Math.tan(camera.fov * Math.PI / 360);
      const away = radius / Math.sin(Math.atan(narrow));
      camera.position.fromArray(directions[view]).multiplyScalar(away).add(centre);
      controls.target.copy(centre);
    }
    controls.update();
    draw();
  }

  // ---- drawing --------------------------------------------------------------------------------
  function draw() {
    poseAll();
    for (const person of persons) {
      person.mesh.visible = seen(person) && shows.mesh;
      const material = person.mesh.material, tinted = shows.uncertainty && person.tints !== null;
      material.wireframe = shows.wireframe;
      if (material.vertexColors !== tinted) {
        material.vertexColors = tinted;
        material.color.set(tinted ? "#ffffff" : person.colour);
        material.needsUpdate = true;
      }
    }
    find("scale").hidden = !shows.uncertainty;
    if (photograph) photograph.visible = shows.photograph;
    const away = camera.position.distanceTo(controls.target);
    camera.near = Math.max(away / 200, 1e-3);
    camera.far = 4 * (away + behind + (photograph ? data.size[0] / data.focal * behind : 0)) + 10;
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
    lamp.position.copy(camera.position).add(new THREE.Vector3(-0.4 * away, 0.7 * away, 0));
    lamp.target.position.copy(controls.target);
    renderer.render(scene, camera);
    drawMarks();
  }

  function describe() {
    const step = Number(slider.value);
    find("step-words").textContent = video ? `frame ${step} of ${lastStep}`
      : step === lastStep ? `step ${step}: the result` : `step ${step} of ${lastStep}`;
    for (const person of persons) {
      const index = indexAt(person, step);
      const parts = video ? [] : [`step ${person.steps[index]}`];
      if (person.loss[index] !== null) parts.push(`loss ${person.loss[index].toPrecision(3)}`);
      if (person.error_px[index] !== null) parts.push(`${person.error_px[index].toFixed(1)} px`);
      person.numbers.textContent = parts.join(", ");
    }
  }

  function resize() {
    const [width, height] = [Math.max(stage.clientWidth, 1), Math.max(stage.clientHeight, 1)];
    const ratio = window.devicePixelRatio || 1;
    renderer.setPixelRatio(ratio);
    renderer.setSize(width, height, false);
    [marks.width, marks.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    camera.aspect = width / height;
    if (moved) draw();
    else look();
  }

  function ready() {
    resize();
    document.documentElement.dataset.ready = "yes";
  }

  // ---- the panel ------------------------------------------------------------------------------
  function listPersons() {
    for (const person of persons) {
      const row = document.createElement("label"), box = document.createElement("input");
      const swatch = document.createElement("span"), name = document.createElement("span");
      box.type = "checkbox";
      box.checked = true;
      box.onchange = () => { person.on = box.checked; draw(); };
      swatch.className = "dot";
      swatch.style.background = person.colour;
      name.textContent = `person ${person.number}`;
      row.append(box, swatch, name);
      person.numbers = document.createElement("div");
      person.numbers.className = "numbers";
      find("persons").append(row, person.numbers);
    }
    if (!persons.length) find("persons").textContent = "Nobody was recovered.";
  }

  function setStep(step) {
    slider.value = step;
    describe();
    draw();
  }

  let timer = null;
  function play() {
    if (timer !== null) return stop();
    if (Number(slider.value) === lastStep) setStep(firstStep);
    find("play").textContent = "stop";
    timer = setInterval(() => {
      if (Number(slider.value) >= lastStep) return stop();
      setStep(numbers.find((number) => number > slider.value));
    }, video ? 1000 / data.fps : 350);
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    find("play").textContent = "play";
  }

  listPersons();
  [slider.min, slider.max] = [firstStep, lastStep];
  slider.disabled = find("play").disabled = still || firstStep === lastStep;
  slider.oninput = () => { stop(); setStep(Number(slider.value)); };
  find("play").onclick = play;
  for (const box of document.querySelectorAll("[data-shows]")) {
    shows[box.dataset.shows] = box.checked;  // a browser may keep them when a page is read again
    box.onchange = () => { shows[box.dataset.shows] = box.checked; draw(); };
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.onclick = () => { view = button.dataset.view; look(); };
  }
  find("reset").onclick = () => {
    stop();
    view = photograph ? "photograph" : "front";
    slider.value = atStart;
    describe();
    look();
  };
  find("bar").style.background = `linear-gradient(to right, ${data.scale.colours.join(", ")})`;
  find("full").textContent = `${data.scale.full_cm} cm and more`;
  if (!persons.some((person) => person.tints !== null)) {
    document.querySelector("[data-shows=uncertainty]").closest("label").hidden = true;
  }
  if (!persons.some((person) => person.observed.length)) {
    document.querySelector("[data-shows=keypoints]").closest("label").hidden = true;
    find("legend").hidden = true;
  }
  if (!photograph) {
    for (const each of document.querySelectorAll("[data-view=photograph], [data-shows=photograph]")) {
      (each.closest("label") || each).hidden = true;
    }
  }
  slider.value = atStart;
  describe();
  controls.addEventListener("change", draw);
  controls.addEventListener("start", () => { moved = true; });
  window.addEventListener("resize", resize);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  if (!photograph) ready();
})();
