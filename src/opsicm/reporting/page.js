'use strict';
// A click on a figure opens it over the page: the wheel zooms about the pointer, a drag moves, Escape or a click closes.
const zoom = document.getElementById('zoom'), shown = zoom.querySelector('img');
let scale = 1, x = 0, y = 0, moved = false, from = null;
const place = () => { shown.style.transform = `translate(${x}px, ${y}px) scale(${scale})`; };
function open(image) {
  shown.src = image.src;
  const width = image.naturalWidth || image.width, height = image.naturalHeight || image.height;
  shown.style.width = `${width}px`;
  scale = Math.min(innerWidth / width, innerHeight / height) * 0.97;
  x = (innerWidth - width * scale) / 2; y = (innerHeight - height * scale) / 2;
  place(); zoom.classList.add('open');
}
document.addEventListener('click', event => {
  const image = event.target.closest('figure img');
  if (image) open(image);
  const button = event.target.closest('button.csv');
  if (button) save(button);
});
zoom.addEventListener('wheel', event => {
  event.preventDefault();
  const factor = Math.exp(-event.deltaY / 400);
  x = event.clientX - (event.clientX - x) * factor; y = event.clientY - (event.clientY - y) * factor;
  scale *= factor; place();
}, { passive: false });
zoom.addEventListener('pointerdown', event => { event.preventDefault(); from = [event.clientX - x, event.clientY - y]; moved = false; });
zoom.addEventListener('pointermove', event => {
  if (!from) return;
  const [u, v] = [event.clientX - from[0], event.clientY - from[1]];
  moved = moved || Math.abs(u - x) + Math.abs(v - y) > 3;
  x = u; y = v; place();
});
zoom.addEventListener('pointerup', () => { from = null; if (!moved) zoom.classList.remove('open'); });
document.addEventListener('keydown', event => { if (event.key === 'Escape') zoom.classList.remove('open'); });
// The data of a figure or table, gzipped in the page, as a file.
async function save(button) {
  const bytes = Uint8Array.from(atob(button.dataset.gz), c => c.charCodeAt(0));
  const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await new Response(text).blob());
  link.download = button.dataset.name;
  link.click();
  URL.revokeObjectURL(link.href);
}
