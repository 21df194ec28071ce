import type { GetServerInfoResponse } from '@pairwise/api';
import { architectureNames, targetModules } from '@pairwise/model';
import { fileTypes } from '@pairwise/gguf';
import { maxMessageBytes, versionIn } from '@pairwise/rpc';
import { engineVersion, lossTypes, schedulerTypes } from '@pairwise/training';

export const serverVersion = versionIn(new URL('package.json', import.meta.url));

/** What this build supports. */
export function serverInfo(): GetServerInfoResponse {
  return {
    version: serverVersion,
    engineVersion,
    architectures: [...architectureNames],
    lossTypes: [...lossTypes],
    targetModules: [...targetModules],
    ggufTypes: Object.keys(fileTypes),
    lrSchedulerTypes: [...schedulerTypes],
    maxMessageSizeBytes: maxMessageBytes,
  };
}
