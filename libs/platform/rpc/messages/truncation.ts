import { TruncationMode } from '@pairwise/api';

/** How pairs that are too long are treated: as the caller says, by default refused. */
export function resolveTruncationMode(mode: TruncationMode | undefined): TruncationMode {
  return mode === undefined || mode === TruncationMode.UNSPECIFIED ? TruncationMode.REFUSE : mode;
}
