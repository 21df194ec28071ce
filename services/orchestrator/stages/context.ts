import type { Run } from '@pairwise/api';
import type { Peers } from '../peers.ts';
import { setProgress, type StageName, type StageProgress } from '../run.ts';
import { changed, unchanged, type Alteration, type Runs } from '../runs.ts';
import { resolvedRunSpec, type ResolvedSpec } from '../spec/resolved.ts';

export interface RunDeps {
  runs: Runs;
  peers: Peers;
  /**
   * How long a peer may take to answer a call that starts work, and how long work that is cancelled may take to stop, in
   * milliseconds.
   */
  patienceMs: number;
}

/**
 * The patience in production. Healthy work checks every second whether it was cancelled, and stops after its
 * micro-batch or tensor: within seconds, or a minute for the largest models on a CPU. The work of a dead worker moves to
 * another one after a lease of 5 s, and a peer that is being rolled out is away for a minute or two.
 */
export const patienceMs = 5 * 60_000;

/** One execution of one stage of a run. */
export interface StageContext {
  runs: Runs;
  peers: Peers;
  /** The run as it was when this execution started. */
  run: Run;
  spec: ResolvedSpec;
  /** Aborted when the run is cancelled. */
  signal: AbortSignal;
  /** The deadline of a call that starts work, from now on. */
  startDeadline: () => Date;
  /** Alters the run. */
  change: (alter: Alteration) => Promise<Run>;
  /** Stores how far the stage has come. */
  report: (progress: StageProgress) => Promise<void>;
}

/**
 * The work of a stage. It reads its inputs from the run and stores its outputs there, and calls peers only in ways that
 * can be repeated, so a crash at any instant is harmless: the stage is executed again. It throws UNAVAILABLE while a peer
 * is away, and is then executed again as well.
 */
export type StageWork = (context: StageContext) => Promise<void>;

/** The context of an execution of `stage` on `run`. */
export function stageContext(
  { runs, peers, patienceMs: startMs }: RunDeps,
  run: Run,
  stage: StageName,
  signal: AbortSignal,
): StageContext {
  const change: StageContext['change'] = (alter) => runs.change(run.name, alter);
  return {
    runs,
    peers,
    run,
    spec: resolvedRunSpec(run),
    signal,
    startDeadline: () => new Date(Date.now() + startMs),
    change,
    report: async (progress) => {
      await change((changing) => (setProgress(changing, stage, progress) === 'changed' ? changed() : unchanged));
    },
  };
}
