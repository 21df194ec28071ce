/** A process of the platform. */
export interface PlatformProcess {
  name: string;
  /** The file that Node runs. Written out in full, so that the bundler finds it. */
  program: URL;
  /** Full names of the gRPC services that it serves; none for a worker. */
  services: readonly string[];
  /** Variable with its address for the other processes; undefined for a worker. */
  variable?: string;
}

/** All processes, each after the ones that it calls. */
export const processes = [
  {
    name: 'dataset',
    program: new URL('../../../services/dataset/main.ts', import.meta.url),
    services: ['pairwise.v1.DatasetService', 'pairwise.v1.ModelService'],
    variable: 'PAIRWISE_DATASET_ADDRESS',
  },
  {
    name: 'reference',
    program: new URL('../../../services/reference/main.ts', import.meta.url),
    services: ['pairwise.v1.ReferenceService'],
    variable: 'PAIRWISE_REFERENCE_ADDRESS',
  },
  {
    name: 'reference-worker',
    program: new URL('../../../services/reference/worker.ts', import.meta.url),
    services: [],
  },
  {
    name: 'training',
    program: new URL('../../../services/training/main.ts', import.meta.url),
    services: ['pairwise.v1.TrainingService'],
    variable: 'PAIRWISE_TRAINING_ADDRESS',
  },
  { name: 'training-worker', program: new URL('../../../services/training/worker.ts', import.meta.url), services: [] },
  {
    name: 'export',
    program: new URL('../../../services/export/main.ts', import.meta.url),
    services: ['pairwise.v1.ExportService'],
    variable: 'PAIRWISE_EXPORT_ADDRESS',
  },
  {
    name: 'orchestrator',
    program: new URL('../../../services/orchestrator/main.ts', import.meta.url),
    services: ['pairwise.v1.OrchestratorService', 'pairwise.v1.DiagnosticsService'],
    variable: 'PAIRWISE_ORCHESTRATOR_ADDRESS',
  },
] as const satisfies readonly PlatformProcess[];

export type ProcessName = (typeof processes)[number]['name'];
