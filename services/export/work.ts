import { work } from '@pairwise/durable';

/** One attempt of an export; executed by the process that serves. */
export const exportWork = work<{ export: string }>('export', 'exports');

/** The id of the work of an export's attempt. */
export function workId(exportName: string, attempt: number): string {
  return `${exportName}/${attempt}`;
}
