"use strict";
// The scene: what sdk/dualhmr/rendering/page.py writes into #data, as bodies before a plane with
// the photograph or the frames of the video. page.py joins scene.js, view.js and panel.js.
// The data's camera frame is x right, y down, z forward; three.js has y up and looks along -z.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const stage = at("stage"), slider = at("step");
const shows = {};  // by the names in data-shows

function bytes(text) {
  const raw = atob(text);
  const array = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) array[i] = raw.charCodeAt(i);
  return array.buffer;
}

function openRenderer() {
  try {
    return new THREE.WebGLRenderer({ canvas: at("scene"), antialias: true, alpha: true });
  } catch (error) {
    at("failure").textContent = "This page needs WebGL, which this browser does not offer.";
    at("failure").hidden = false;
    at("time").hidden = at("panel").hidden = true;
    throw error;
  }
}
const renderer = openRenderer();
const scene = new THREE.Scene();
const camera = new THREE.PerspectiveCamera(35, 1, 0.01, 100);
const controls = new THREE.OrbitControls(camera, renderer.domElement);
scene.add(new THREE.HemisphereLight(0xffffff, 0x8d8d99, 1.9));
const lamp = new THREE.DirectionalLight(0xffffff, 1.9);
scene.add(lamp, lamp.target);

// ---- bodies ---------------------------------------------------------------------------------
// sRGB to what three.js computes with.
const linearOf = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;

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
const numbers = [...new Set([...persons.map((person) => person.steps),
  video ? data.pictures.map(([number]) => number) : []].flat())].sort((a, b) => a - b);
const firstStep = video && numbers.length ? numbers[0] : 0;
const lastStep = numbers.length ? numbers.at(-1) : 0;
const atStart = video ? firstStep : lastStep;
const stepNow = () => Number(slider.value);
const inTime = (person, step) =>
  !video || (person.steps[0] <= step && step <= person.steps.at(-1));
const isShown = (person) => person.on && inTime(person, stepNow());
// In frames without the person, the motion was filled in.
const isFilled = (person, index) => person.seen !== null && !person.seen[index];

// The index of the last of rising numbers that is not later than a step, or 0.
function indexAt(rising, step) {
  let index = 0;
  while (index + 1 < rising.length && rising[index + 1] <= step) index++;
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
  for (const person of persons) pose(person, indexAt(person.steps, stepNow()));
}

// ---- the photograph or the video, on a plane behind everybody -------------------------------
const behind = data.behind_m;
const onPlane = (x, y) => new THREE.Vector3(
  (x - data.center[0]) / data.focal * behind, -(y - data.center[1]) / data.focal * behind, -behind);
const pictured = data.pictures.map(([number]) => number);
const backdrop = pictured.length ? openBackdrop() : null;

function openBackdrop() {
  const [width, height] = data.size;
  const corners = [[0, 0], [width, 0], [width, height], [0, height]]
    .map(([x, y]) => onPlane(x - 0.5, y - 0.5).toArray());  // whole numbers are pixel centres
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(corners.flat()), 3));
  geometry.setAttribute("uv", new THREE.BufferAttribute(new Float32Array([0, 1, 1, 1, 1, 0, 0, 0]), 2));
  geometry.setIndex([0, 3, 2, 0, 2, 1]);
  // Frames of a video may differ in size, and a texture may not: all are drawn on one canvas.
  const sheet = document.createElement("canvas"), texture = new THREE.Texture(sheet);
  texture.colorSpace = THREE.SRGBColorSpace;
  const plane = new THREE.Mesh(
    geometry, new THREE.MeshBasicMaterial({ map: texture, side: THREE.DoubleSide }));
  scene.add(plane);
  const images = data.pictures.map(([, address]) => {
    const image = new Image();
    image.src = address;
    return image;
  });
  return { plane, sheet, texture, images, at: -1 };
}

// The picture of the step; true if it is there, and else `later` is called when it is.
function showPicture(later) {
  const wanted = indexAt(pictured, stepNow()), image = backdrop.images[wanted];
  if (backdrop.at === wanted) return true;
  if (!image.complete || !image.naturalWidth) {
    image.onload = later;
    return false;
  }
  const { sheet, texture } = backdrop;
  if (backdrop.at < 0) [sheet.width, sheet.height] = [image.naturalWidth, image.naturalHeight];
  sheet.getContext("2d").drawImage(image, 0, 0, sheet.width, sheet.height);
  texture.needsUpdate = true;
  backdrop.at = wanted;
  return true;
}
