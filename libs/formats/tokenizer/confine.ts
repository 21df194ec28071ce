import { writeFileSync } from 'node:fs';
import koffi from 'koffi';

/** Of `setrlimit` and `prctl`, the same on x64 and arm64. */
const linux = { RLIMIT_DATA: 2, RLIMIT_CORE: 4, PR_SET_PDEATHSIG: 1, SIGKILL: 9 };

/**
 * Holds this process to its memory: an allocation beyond it fails, upon which Rust and V8 abort. The process leaves no
 * core file, dies with the process that started it, and is the first that the kernel kills where memory runs out.
 * Linux only: macOS does not count what is mapped, so that there only V8's own heap is limited (see process.ts).
 */
export function confineThisProcess(memoryBytes: number): void {
  if (process.platform !== 'linux') return;
  const libc = koffi.load(null);
  koffi.struct('rlimit', { soft: 'uint64_t', hard: 'uint64_t' });
  const setrlimit = libc.func('int setrlimit(int resource, const rlimit *limit)') as (
    resource: number,
    limit: { soft: number; hard: number },
  ) => number;
  const prctl = libc.func('int prctl(int option, unsigned long argument)') as (
    option: number,
    argument: number,
  ) => number;
  const results = [
    setrlimit(linux.RLIMIT_DATA, { soft: memoryBytes, hard: memoryBytes }),
    setrlimit(linux.RLIMIT_CORE, { soft: 0, hard: 0 }),
    prctl(linux.PR_SET_PDEATHSIG, linux.SIGKILL),
  ];
  if (results.some((result) => result !== 0)) throw new Error('the limits of this process cannot be set');
  writeFileSync('/proc/self/oom_score_adj', '1000');
}
