// Marks over the scene, the camera, and drawing.

// ---- marks: numbers, skeleton, keypoints, residuals -----------------------------------------
const marks = at("marks"), pen = marks.getContext("2d");
const HEAD = 15;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const place = ([x, y, z]) => new THREE.Vector3(x, -y, -z);

function onScreen(point) {
  const ahead = point.clone().applyMatrix4(camera.matrixWorldInverse).z < 0;
  const seen = point.clone().project(camera);
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  return ahead ? [(seen.x + 1) / 2 * width, (1 - seen.y) / 2 * height] : null;
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

function dot(spot, radius, style) {
  if (!spot) return;
  for (const [size, fill] of [[radius + 1.5, "#ffffff"], [radius, style]]) {
    pen.fillStyle = fill;
    pen.beginPath();
    pen.arc(spot[0], spot[1], size, 0, 2 * Math.PI);
    pen.fill();
  }
}

function drawSkeleton(person) {
  const joints = person.joints[person.at].map((joint) => onScreen(place(joint)));
  for (const [width, style] of [[5, "#ffffff"], [2.5, "#2f3136"]]) {
    for (const [one, other] of data.bones) line(joints[one], joints[other], width, style);
  }
  for (const joint of joints) dot(joint, 2.5, "#2f3136");
}

function drawKeypoints(person) {
  const observed = person.observed.map(([x, y]) => onScreen(onPlane(x, y)));
  const own = person.keypoints[person.at].map((each) => each && onScreen(onPlane(...each)));
  for (const [width, style] of [[4, "#ffffff"], [2, "#2f3136"]]) {
    own.forEach((spot, k) => line(observed[k], spot, width, style));
  }
  own.forEach((spot) => dot(spot, 3, colour("--body")));
  observed.forEach((spot) => dot(spot, 3, colour("--observed")));
}

function drawNumber(person) {
  const [x, y, z] = person.joints[person.at][HEAD];
  const spot = onScreen(place([x, y - 0.25, z]));
  if (!spot) return;
  pen.font = "600 14px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.lineJoin = "round";
  pen.lineWidth = 4;
  pen.strokeStyle = "#2f3136";
  pen.strokeText(person.number, ...spot);
  pen.fillStyle = person.colour;
  pen.fillText(person.number, ...spot);
}

function drawMarks() {
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, stage.clientWidth, stage.clientHeight);
  pen.lineCap = "round";
  for (const person of persons.filter(isShown)) {
    if (shows.skeleton) drawSkeleton(person);
    if (shows.keypoints) drawKeypoints(person);
    if (shows.numbers && persons.length > 1) drawNumber(person);
  }
}

// ---- views ----------------------------------------------------------------------------------
function extent() {
  const chosen = persons.filter((person) => person.on);
  const points = (chosen.length ? chosen : persons)
    .flatMap((person) => video ? person.joints.flat() : person.joints[person.at]).map(place);
  const centre = new THREE.Vector3(0, 0, -Math.max(behind, 1));
  if (!points.length) return [centre, 1];
  const [low, high] = [points[0].clone(), points[0].clone()];
  for (const point of points) { low.min(point); high.max(point); }
  centre.addVectors(low, high).multiplyScalar(0.5);
  const far = points.reduce((most, point) => Math.max(most, point.distanceTo(centre)), 0);
  return [centre, far + 0.15];
}

const directions = { front: [0, 0, 1], side: [1, 0, 0], top: [0, 1, 0.001] };
const firstView = backdrop ? "photograph" : "front";
let view = firstView;
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
function drawBody(person) {
  const material = person.mesh.material, tinted = shows.uncertainty && person.tints !== null;
  const pale = isFilled(person, person.at);
  person.mesh.visible = isShown(person) && shows.mesh;
  material.wireframe = shows.wireframe;
  if (material.vertexColors === tinted && material.transparent === pale) return;
  material.vertexColors = tinted;
  material.color.set(tinted ? "#ffffff" : person.colour);
  material.transparent = pale;
  material.opacity = pale ? 0.4 : 1;
  material.needsUpdate = true;
}

function draw() {
  poseAll();
  persons.forEach(drawBody);
  at("scale").hidden = !shows.uncertainty;
  if (backdrop) backdrop.plane.visible = shows.photograph && showPicture(draw);
  const away = camera.position.distanceTo(controls.target);
  camera.near = Math.max(away / 200, 1e-3);
  camera.far = 4 * (away + behind + (backdrop ? data.size[0] / data.focal * behind : 0)) + 10;
  camera.updateProjectionMatrix();
  camera.updateMatrixWorld();
  lamp.position.copy(camera.position).add(new THREE.Vector3(-0.4 * away, 0.7 * away, 0));
  lamp.target.position.copy(controls.target);
  renderer.render(scene, camera);
  drawMarks();
  for (const button of document.querySelectorAll("[data-view]")) {
    button.ariaPressed = String(!moved && button.dataset.view === view);
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
