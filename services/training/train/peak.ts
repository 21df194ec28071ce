import { readFileSync } from 'node:fs';

/** What this process has had in memory at most, in bytes: what no file backs, and pages of mapped files. */
export interface PeakMemory {
  anonymousBytes: number;
  /** A page that two sessions map counts twice. */
  mappedBytes: number;
}

/** Measures the memory of this process until it is stopped. */
export interface Peak {
  /** Since the last reset; zeros where the system does not tell, which is everywhere but on Linux. */
  memory(): PeakMemory;
  reset(): void;
  stop(): void;
}

const sampleMs = 100;
const nothing: PeakMemory = { anonymousBytes: 0, mappedBytes: 0 };

/** Looks at the memory of this process ten times a second. */
export function measurePeak(): Peak {
  let peak = nothing;
  const look = () => {
    const now = currentMemory();
    peak = {
      anonymousBytes: Math.max(peak.anonymousBytes, now.anonymousBytes),
      mappedBytes: Math.max(peak.mappedBytes, now.mappedBytes),
    };
    return peak;
  };
  const sampling = setInterval(look, sampleMs);
  sampling.unref();
  return { memory: look, reset: () => (peak = nothing), stop: () => clearInterval(sampling) };
}

function currentMemory(): PeakMemory {
  if (process.platform !== 'linux') return nothing;
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytes = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0);
  return { anonymousBytes: bytes('RssAnon') + bytes('RssShmem'), mappedBytes: bytes('RssFile') };
}
