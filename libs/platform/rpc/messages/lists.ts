import { refuseField } from './field.ts';

/** Throws INVALID_ARGUMENT if a list in a request has more than `most` elements. `field` is the path of the list. */
export function refuseLongList(list: readonly unknown[], most: number, field: string): void {
  if (list.length <= most) return;
  refuseField(field, `has ${list.length} elements; it must have at most ${most}`);
}
