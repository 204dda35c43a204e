"use strict";
// The densities and particles of a run over time: one canvas per row, drawn from bytes that stand in the page itself.
(() => {
  const film = JSON.parse(document.getElementById("film").textContent);
  const slider = document.getElementById("time");
  const shown = document.getElementById("time-shown");
  const play = document.getElementById("play");
  const SIZE = [480, 360], LEFT = 58, RIGHT = 12, TOP = 26, BOTTOM = 44, SHARP = 2;

  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const words = text => new Uint16Array(bytes(text).buffer);
  const rows = film.rows.map(row => ({
    ...row,
    density: row.density && bytes(row.density),
    particles: row.particles && words(row.particles),
    atoms: row.atoms && words(row.atoms),
    canvas: document.getElementById(row.id),
  }));

  function ticks(low, high) {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(digit => digit * power).find(width => width >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + 1e-9 * step; i++) found.push(i * step);
    return found.map(value => [value, String(+value.toPrecision(6))]);
  }

  const inside = [SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM];
  const right = share => LEFT + inside[0] * share, up = share => TOP + inside[1] * (1 - share);

  function frame(pen, row) {
    pen.strokeStyle = "#57606a"; pen.fillStyle = "#1b1f24"; pen.lineWidth = 1; pen.font = "13px sans-serif";
    pen.setLineDash([]);
    pen.strokeRect(LEFT, TOP, inside[0], inside[1]);
    const [[x0, y0], [x1, y1]] = [row.low, row.high];
    pen.textAlign = "center"; pen.textBaseline = "top";
    for (const [value, text] of ticks(x0, x1)) {
      const x = right((value - x0) / (x1 - x0));
      pen.beginPath(); pen.moveTo(x, TOP + inside[1]); pen.lineTo(x, TOP + inside[1] + 4); pen.stroke();
      pen.fillText(text, x, TOP + inside[1] + 6);
    }
    pen.fillText(row.labels[0], LEFT + inside[0] / 2, TOP + inside[1] + 24);
    pen.textAlign = "right"; pen.textBaseline = "middle";
    for (const [value, text] of ticks(y0, y1)) {
      const y = up((value - y0) / (y1 - y0));
      pen.beginPath(); pen.moveTo(LEFT - 4, y); pen.lineTo(LEFT, y); pen.stroke();
      pen.fillText(text, LEFT - 7, y);
    }
    pen.save(); pen.translate(13, TOP + inside[1] / 2); pen.rotate(-Math.PI / 2); pen.textAlign = "center";
    pen.fillText(row.labels[1], 0, 0); pen.restore();
    pen.textAlign = "left"; pen.textBaseline = "alphabetic"; pen.fillText(row.tag, LEFT, TOP - 9);
  }

  function map(pen, row, k) {
    const [width, height] = row.shape, image = new ImageData(width, height), start = k * width * height;
    for (let i = 0; i < width; i++) for (let j = 0; j < height; j++) {
      const colour = film.colours[row.density[start + i * height + j]], at = 4 * ((height - 1 - j) * width + i);
      image.data.set([...colour, 255], at);
    }
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(image, 0, 0);
    pen.drawImage(small, LEFT, TOP, inside[0], inside[1]);
  }

  function line(pen, points, colour, dash) {
    pen.beginPath(); pen.strokeStyle = colour; pen.setLineDash(dash); pen.lineWidth = dash.length ? 1.2 : 2;
    points.forEach(([x, y], i) => (i ? pen.lineTo(right(x), up(y)) : pen.moveTo(right(x), up(y))));
    pen.stroke();
  }

  function curve(pen, row, k) {
    const count = row.shape[0];
    const points = Array.from(row.density.subarray(k * count, (k + 1) * count),
      (value, i) => [(i + .5) / count, value / 255]);
    line(pen, points, "#14528a", []);
  }

  const share = place => place / 65535 * 1.04 - 0.02;  // what lies outside the window is clipped away

  function dots(pen, k, places, count, wide, radius) {
    for (let i = 0; i < count; i++) {
      const at = (k * count + i) * (wide ? 2 : 1);
      const x = right(share(places[at])), y = wide ? up(share(places[at + 1])) : up(0.015);
      pen.beginPath();
      if (wide) pen.arc(x, y, radius(i), 0, 2 * Math.PI); else pen.rect(x - .4, y - 5, .8, 10);
      pen.fill();
    }
  }

  function draw(row, k) {
    const pen = row.canvas.getContext("2d");
    pen.setTransform(SHARP, 0, 0, SHARP, 0, 0);
    pen.fillStyle = "#fff"; pen.fillRect(0, 0, ...SIZE);
    pen.save(); pen.beginPath(); pen.rect(LEFT, TOP, inside[0], inside[1]); pen.clip();
    if (row.density && row.shape.length === 2) map(pen, row, k); else if (row.density) curve(pen, row, k);
    for (const path of row.stationary) line(pen, path, "#000", [5, 3]);
    if (row.atoms) {
      pen.fillStyle = "rgba(20, 82, 138, .55)";
      dots(pen, k, row.atoms, row.weights.length, true, i => row.weights[i]);
    }
    pen.fillStyle = "#d55e00";
    if (row.particles) dots(pen, k, row.particles, row.count, row.plane, () => 1.7);
    pen.restore();
    frame(pen, row);
  }

  function show() {
    const k = Number(slider.value);
    shown.textContent = "t = " + Number(film.times[k].toPrecision(4));
    for (const row of rows) draw(row, k);
  }

  let timer = null;
  function stop() { clearInterval(timer); timer = null; play.textContent = "Play"; }
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) >= film.times.length - 1) slider.value = 0;
    play.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1; show();
      if (Number(slider.value) >= film.times.length - 1) stop();
    }, 120);
  });
  slider.addEventListener("input", () => { stop(); show(); });
  for (const row of rows) { row.canvas.width = SIZE[0] * SHARP; row.canvas.height = SIZE[1] * SHARP; }
  show();
})();
