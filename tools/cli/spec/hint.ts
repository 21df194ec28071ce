import type { DescMessage } from '@bufbuild/protobuf';
import { messageOf } from './schema.ts';

/** Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (Damerau-Levenshtein). */
export function distance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (__, j) => i || j));
  const at = (i: number, j: number) => rows[i]![j]!;
  for (let i = 1; i <= a.length; i += 1) {
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, at(i - 2, j - 2) + 1);
      rows[i]![j] = least;
    }
  }
  return at(a.length, b.length);
}

/** The closest known word, if any is close enough to be a typo of it. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const simple = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, '');
  const ranked = known
    .map((name) => ({ name, edits: distance(simple(word), simple(name)) }))
    .sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  return best !== undefined && best.edits <= Math.max(1, Math.floor(word.length / 3)) ? best.name : undefined;
}

/** Paths of all fields with this name at or below a message. */
function placesOf(key: string, message: DescMessage, path: string): string[] {
  return message.fields.flatMap((field) => {
    const own = path === '' ? field.name : `${path}.${field.name}`;
    const within = messageOf(field);
    const below = within === undefined ? [] : placesOf(key, within, field.fieldKind === 'list' ? `${own}[]` : own);
    return field.name === key || field.jsonName === key ? [own, ...below] : below;
  });
}

/** Names of all fields at or below a message. */
function namesBelow(message: DescMessage): string[] {
  return message.fields.flatMap((field) => {
    const within = messageOf(field);
    return within === undefined ? [field.name] : [field.name, ...namesBelow(within)];
  });
}

/** A hint for an unknown key: the name that was probably meant, or where the key belongs. */
export function hintFor(key: string, message: DescMessage, whole: DescMessage): string {
  const known = message.fields.map(({ name }) => name);
  const near = nearest(key, known);
  if (near !== undefined) return `did you mean '${near}'?`;
  const elsewhere = placesOf(key, whole, '');
  if (elsewhere.length > 0) return `it belongs to spec.${elsewhere[0]!.split('.').slice(0, -1).join('.')}`;
  // Two letters are too few to guess from.
  const far = key.length < 3 ? undefined : nearest(key, [...new Set(namesBelow(whole))]);
  if (far !== undefined) return `did you mean spec.${placesOf(far, whole, '')[0]!}?`;
  return `known fields are ${known.join(', ')}`;
}
