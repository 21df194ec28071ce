import { refuseField } from './field.ts';

/** Throws INVALID_ARGUMENT for a list of a request that has more than `most` elements; `field` is its path. */
export function refuseLongList(list: readonly unknown[], most: number, field: string): void {
  if (list.length <= most) return;
  refuseField(field, `has ${list.length} elements; it must have at most ${most}`);
}
