import { work } from '@pairwise/durable';

/** One attempt of an export. It runs in the export service's own process. */
export const exportWork = work<{ export: string }>('export', 'exports');

export function exportWorkId(exportName: string, attempt: number): string {
  return `${exportName}/${attempt}`;
}

/** The push of an artifact to the hub. It has a queue of its own, because it needs the network rather than the cores. */
export const pushWork = work<{ push: string }>('push', 'pushes');
