import type { Artifact } from '@pairwise/api';
import { fields, formatBytes, formatTable } from '../output.ts';
import { artifactTable } from './summary.ts';

/** Everything about an artifact: its line in the list, its files, and its answers to fixed prompts. */
export function artifactDetails(artifact: Artifact): string {
  const files = artifact.files.map(({ path, sizeBytes, digest }) => [path, formatBytes(sizeBytes), digest]);
  return [
    artifactTable([artifact]),
    formatTable(['FILE', 'SIZE', 'DIGEST'], files),
    ...artifact.samples.map(({ prompt, base, tuned }) =>
      fields([
        ['prompt', quoted(prompt)],
        ['base model', base === undefined ? '' : quoted(base)],
        ['tuned', quoted(tuned)],
      ]),
    ),
  ].join('\n\n');
}

/** On one line, and without control characters: a model may answer anything. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(/[\x7f-\x9f]/g, '\ufffd');
}
