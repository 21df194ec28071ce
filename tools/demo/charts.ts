/** A named line of a chart. */
export interface ChartLine {
  name: string;
  colour: string;
  points: readonly (readonly [x: number, y: number])[];
}

const [width, height] = [460, 210];
const edge = { left: 48, right: 12, top: 12, bottom: 26 };

/** About four round numbers between the least and the most. */
export function ticks(least: number, most: number): number[] {
  const span = most - least || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= rough)!;
  const first = Math.ceil(least / step - 1e-9);
  return Array.from({ length: Math.floor(most / step + 1e-9) - first + 1 }, (_, index) => (first + index) * step);
}

function scale(from: readonly [number, number], to: readonly [number, number]) {
  const span = from[1] - from[0] || 1;
  return (value: number) => to[0] + ((value - from[0]) / span) * (to[1] - to[0]);
}

function extent(values: readonly number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

function frame(
  x: (v: number) => number,
  y: (v: number) => number,
  xs: readonly number[],
  ys: readonly number[],
): string {
  const [left, right, bottom] = [edge.left, width - edge.right, height - edge.bottom];
  const rows = ys.map((value) => {
    const at = y(value).toFixed(1);
    return `<line x1="${left}" x2="${right}" y1="${at}" y2="${at}"/><text x="${left - 6}" y="${at}" dy="4" text-anchor="end">${shown(value)}</text>`;
  });
  const columns = xs.map(
    (value) => `<text x="${x(value).toFixed(1)}" y="${bottom + 17}" text-anchor="middle">${shown(value)}</text>`,
  );
  return `<g class="frame">${rows.join('')}${columns.join('')}</g>`;
}

const shown = (value: number) => String(Number(value.toPrecision(6)));

/** A line chart as SVG; the page sets the colours of the frame and the font. */
export function lineChart(lines: readonly ChartLine[]): string {
  const all = lines.flatMap(({ points }) => points);
  const [xRange, yRange] = [extent(all.map(([x]) => x)), extent(all.map(([, y]) => y))];
  const x = scale(xRange, [edge.left, width - edge.right]);
  const y = scale(yRange, [height - edge.bottom, edge.top]);
  const paths = lines.map(({ points, colour }) => {
    const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(' ');
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="1.8" stroke-linejoin="round"/>`;
  });
  return svg(`${frame(x, y, ticks(...xRange), ticks(...yRange))}${paths.join('')}`);
}

/** Overlaid histograms as SVG: how many values of each series fall into each of `bins` equal ranges. */
export function histogram(series: readonly { colour: string; values: readonly number[] }[], bins = 30): string {
  const most = Math.max(...series.flatMap(({ values }) => values));
  const counts = series.map(({ values }) => {
    const own = new Array<number>(bins).fill(0);
    for (const value of values) own[Math.min(bins - 1, Math.floor((value / (most + 1)) * bins))]! += 1;
    return own;
  });
  const highest = Math.max(...counts.flat());
  const x = scale([0, most + 1], [edge.left, width - edge.right]);
  const y = scale([0, highest], [height - edge.bottom, edge.top]);
  const bars = counts.flatMap((own, index) =>
    own.map((count, bin) => {
      const [from, to] = [x((bin / bins) * (most + 1)), x(((bin + 1) / bins) * (most + 1))];
      const top = y(count);
      const size = `width="${(to - from - 1).toFixed(1)}" height="${(y(0) - top).toFixed(1)}"`;
      return `<rect x="${from.toFixed(1)}" y="${top.toFixed(1)}" ${size} fill="${series[index]!.colour}" opacity=".75"/>`;
    }),
  );
  return svg(`${frame(x, y, ticks(0, most), ticks(0, highest))}${bars.join('')}`);
}

function svg(content: string): string {
  return `<svg viewBox="0 0 ${width} ${height}" role="img">${content}</svg>`;
}
