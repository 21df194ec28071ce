/** A process of the platform. */
export interface PlatformProcess {
  name: string;
  /** Its program, below `services/`. */
  program: string;
  /** The gRPC services that it answers for, by full name; none for a worker. */
  services: readonly string[];
  /** Variable that tells the others its address; for processes that serve. */
  variable?: string;
}

/** All processes, each after those that it calls. */
export const processes = [
  {
    name: 'dataset',
    program: 'dataset/main.ts',
    services: ['pairwise.v1.DatasetService', 'pairwise.v1.ModelService'],
    variable: 'PAIRWISE_DATASET_ADDRESS',
  },
  {
    name: 'reference',
    program: 'reference/main.ts',
    services: ['pairwise.v1.ReferenceService'],
    variable: 'PAIRWISE_REFERENCE_ADDRESS',
  },
  { name: 'reference-worker', program: 'reference/worker.ts', services: [] },
  {
    name: 'training',
    program: 'training/main.ts',
    services: ['pairwise.v1.TrainingService'],
    variable: 'PAIRWISE_TRAINING_ADDRESS',
  },
  { name: 'training-worker', program: 'training/worker.ts', services: [] },
  {
    name: 'export',
    program: 'export/main.ts',
    services: ['pairwise.v1.ExportService'],
    variable: 'PAIRWISE_EXPORT_ADDRESS',
  },
  {
    name: 'orchestrator',
    program: 'orchestrator/main.ts',
    services: ['pairwise.v1.OrchestratorService'],
    variable: 'PAIRWISE_ORCHESTRATOR_ADDRESS',
  },
] as const satisfies readonly PlatformProcess[];

export type ProcessName = (typeof processes)[number]['name'];
