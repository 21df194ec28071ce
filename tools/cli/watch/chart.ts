import { formatFigure } from './figures.ts';

export interface Series {
  title: string;
  values: readonly number[];
}

const blocks = ' ▁▂▃▄▅▆▇█';

/** Shrinks a long series to `columns` values, each the mean of its share. */
export function shrinkSeries(values: readonly number[], columns: number): number[] {
  if (values.length <= columns) return [...values];
  return Array.from({ length: columns }, (_, column) => {
    const share = values.slice(
      Math.floor((column * values.length) / columns),
      Math.floor(((column + 1) * values.length) / columns),
    );
    return share.reduce((sum, value) => sum + value, 0) / share.length;
  });
}

/**
 * A bar chart of a series as lines of text, `height` lines high, drawn in eighths of a line. The largest and the
 * smallest value label the axis.
 */
export function chart({ title, values }: Series, columns: number, height: number): string[] {
  const shown = shrinkSeries(values.filter(Number.isFinite), columns);
  const least = Math.min(...shown);
  const most = Math.max(...shown);
  const labels = [formatFigure(most), formatFigure(least)];
  const width = Math.max(...labels.map(({ length }) => length));
  // The smallest value is still visible, as the lowest block.
  const eighths = shown.map((value) =>
    most === least ? height * 4 : 1 + Math.round(((value - least) / (most - least)) * (height * 8 - 1)),
  );
  const lines = Array.from({ length: height }, (_, index) => {
    const below = (height - 1 - index) * 8;
    const label = index === 0 ? labels[0]! : index === height - 1 ? labels[1]! : '';
    const cells = eighths.map((value) => blocks[Math.min(8, Math.max(0, value - below))]!).join('');
    return `${label.padStart(width)} ┤${cells}`;
  });
  return [`${' '.repeat(width)} ${title}`, ...lines];
}

/** Two charts side by side. */
export function beside(left: readonly string[], right: readonly string[], gap = 3): string[] {
  const width = Math.max(...left.map(({ length }) => length)) + gap;
  return left.map((line, index) => `${line.padEnd(width)}${right[index] ?? ''}`);
}
