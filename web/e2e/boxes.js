// What pictures of the app are compared by, so that they are the same on every machine: a font that has one glyph, a box, for all
// characters, and a comparison that forgives the smoothing of edges.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const em = 1000;
const advance = 500; // each character is half an em wide, and as high as small letters are

const u16 = (...values) => Buffer.concat(values.map((v) => { const b = Buffer.alloc(2); b.writeUInt16BE(v & 0xffff); return b; }));
const u32 = (...values) => Buffer.concat(values.map((v) => { const b = Buffer.alloc(4); b.writeUInt32BE(v >>> 0); return b; }));

/** A TrueType font: all characters are boxes. */
export function boxFont() {
  const [left, right, bottom, top] = [40, advance - 40, 0, 520];
  // One contour of four points on the curve, told by their differences, and two bytes so that the next glyph begins at a multiple of four.
  const glyph = Buffer.concat([
    u16(1, left, bottom, right, top, 3, 0), Buffer.from([1, 1, 1, 1]), u16(left, 0, right - left, 0), u16(bottom, top - bottom, 0, bottom - top), u16(0),
  ]);
  const name = Buffer.from('Boxes', 'utf16le').swap16();
  const records = [1, 2, 4, 6];
  const tables = {
    'OS/2': Buffer.concat([u16(4, advance, 400, 5, 0), u16(...Array(10).fill(0)), u16(0), Buffer.alloc(10), u32(0, 0, 0, 0), Buffer.from('NONE'), u16(0x40, 0x20, 0xffff, 800, -200, 0, 800, 200), u32(0, 0), u16(520, 700, 0, 0x20, 0)]),
    // Without the joined forms of Arabic letters, which would make one box of a word.
    cmap: Buffer.concat([u16(0, 1, 3, 10), u32(12), u16(13, 0), u32(40, 0, 2), u32(0x20, 0xfb4f, 1), u32(0xff00, 0x10ffff, 1)]),
    glyf: Buffer.concat([glyph, glyph]),
    head: Buffer.concat([u32(0x10000, 0x10000, 0, 0x5f0f3cf5), u16(3, em), Buffer.alloc(16), u16(left, bottom, right, top, 0, 8, 2, 0, 0)]),
    hhea: Buffer.concat([u32(0x10000), u16(800, -200, 0, advance, left, left, right, 1, 0, 0, 0, 0, 0, 0, 0, 2)]),
    hmtx: u16(advance, left, advance, left),
    loca: u16(0, glyph.length / 2, glyph.length),
    maxp: Buffer.concat([u32(0x10000), u16(2, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)]),
    name: Buffer.concat([u16(0, records.length, 6 + 12 * records.length), ...records.map((id) => u16(3, 1, 0x409, id, name.length, 0)), name]),
    post: Buffer.concat([u32(0x30000, 0), u16(0, 0), u32(0, 0, 0, 0, 0)]),
  };
  const names = Object.keys(tables);
  let offset = 12 + 16 * names.length;
  const directory = [u32(0x10000), u16(names.length, 128, 3, 16 * names.length - 128)];
  const bodies = [];
  for (const table of names) {
    const body = Buffer.concat([tables[table], Buffer.alloc(-tables[table].length & 3)]);
    let sum = 0;
    for (let i = 0; i < body.length; i += 4) sum = (sum + body.readUInt32BE(i)) >>> 0;
    directory.push(Buffer.from(table), u32(sum, offset, tables[table].length));
    bodies.push(body);
    offset += body.length;
  }
  return Buffer.concat([...directory, ...bodies]);
}

/** Text is boxes; what depends on chance (the colours of people, the time) is not shown. The page has to be of a context with bypassCSP. */
export async function drawBoxes(page) {
  const font = `data:font/ttf;base64,${boxFont().toString('base64')}`;
  await page.addStyleTag({ content: `
    @font-face { font-family: Boxes; src: url(${font}); }
    *, *::before, *::after, ::placeholder { font-family: Boxes !important; letter-spacing: 0 !important; font-synthesis: none !important; caret-color: transparent !important; scrollbar-width: none !important; }
    .avatar { background: #888 !important; }
    time { display: inline-block !important; width: 5ch !important; height: 1lh; overflow: hidden; white-space: nowrap; color: transparent !important; vertical-align: bottom; }` });
  await page.evaluate(() => document.fonts.load('16px Boxes').then((loaded) => { if (loaded.length === 0) throw new Error('the font of boxes was not taken'); }));
}

/** Compares what a page shows with the picture that is kept. UPDATE_SNAPSHOTS=1 keeps what is shown. */
export async function looksAs(page, name) {
  const file = fileURLToPath(new URL(`snapshots/${name}.png`, import.meta.url));
  const shot = await page.screenshot({ animations: 'disabled', caret: 'hide' });
  if (process.env.UPDATE_SNAPSHOTS) writeFileSync(file, shot);
  assert.ok(existsSync(file), `there is no picture ${file}: UPDATE_SNAPSHOTS=1 makes it`);
  const { size, different, where } = await page.evaluate(difference, [readFileSync(file).toString('base64'), shot.toString('base64')]);
  const actual = file.replace('/snapshots/', '/').replace('.png', '.actual.png');
  if (different > tolerated || size[0] !== size[1]) writeFileSync(actual, shot);
  assert.equal(size[1], size[0], `${name}: another size`);
  assert.ok(different <= tolerated, `${name}: ${(different * 100).toFixed(2)} of 100 pixels are not those of ${file}, around ${where}; what is shown is in ${actual}, and UPDATE_SNAPSHOTS=1 keeps it`);
  return different;
}

const tolerated = 0.003; // part of the pixels that may differ

/** Runs in the page: decodes two pictures and counts the pixels that differ by more than smoothing does. */
async function difference(pictures) {
  const [a, b] = await Promise.all(pictures.map(async (base64) => {
    const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type: 'image/png' }));
    const canvas = new OffscreenCanvas(picture.width, picture.height).getContext('2d');
    canvas.drawImage(picture, 0, 0);
    return canvas.getImageData(0, 0, picture.width, picture.height);
  }));
  const size = [a, b].map((p) => `${p.width} x ${p.height}`);
  let count = 0;
  let where = [Infinity, Infinity, 0, 0];
  for (let i = 0; i < Math.min(a.data.length, b.data.length); i += 4) {
    if (Math.max(...[0, 1, 2].map((c) => Math.abs(a.data[i + c] - b.data[i + c]))) <= 40) continue;
    count += 1;
    const [x, y] = [(i / 4) % a.width, Math.floor(i / 4 / a.width)];
    where = [Math.min(where[0], x), Math.min(where[1], y), Math.max(where[2], x), Math.max(where[3], y)];
  }
  return { size, different: count / (a.width * a.height), where: `${where[0]},${where[1]} to ${where[2]},${where[3]}` };
}
