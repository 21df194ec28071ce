import {
  DatasetServiceService,
  DiagnosticsServiceService,
  ExportServiceService,
  ModelServiceService,
  OrchestratorServiceService,
  ReferenceServiceService,
  TrainingServiceService,
} from '@pairwise/api';
import type { Role } from '@pairwise/config';
import type { Definition } from '../methods.ts';

/** `anyone`: anyone with a role in any project, since the method does not concern a project. */
export type Need = Role | 'anyone';

const needsOf = <D extends Definition>(definition: D, needs: Record<keyof D, Need>): [path: string, need: Need][] =>
  Object.entries(definition).map(([name, { path }]) => [path, needs[name]!]);

/** The role that each method of the API requires, by path. */
export const needs: ReadonlyMap<string, Need> = new Map([
  ...needsOf(DatasetServiceService, {
    createDataset: 'submitter',
    getDataset: 'reader',
    listDatasets: 'reader',
    deleteDataset: 'admin',
    importPairs: 'submitter',
    getImport: 'reader',
    listImports: 'reader',
    sealVersion: 'submitter',
    getDatasetVersion: 'reader',
    listDatasetVersions: 'reader',
    readPairs: 'reader',
    encodeVersion: 'submitter',
    getEncoding: 'reader',
    listEncodings: 'reader',
  }),
  ...needsOf(ModelServiceService, {
    importModel: 'submitter',
    inspectModel: 'reader',
    getModel: 'reader',
    listModels: 'reader',
    ensureQuantization: 'submitter',
    deleteModel: 'admin',
  }),
  ...needsOf(ReferenceServiceService, {
    ensureLogps: 'submitter',
    estimateLogps: 'reader',
    getCoverage: 'reader',
    listCoverages: 'reader',
    watchCoverage: 'reader',
    cancelCoverage: 'submitter',
    readLogps: 'reader',
  }),
  ...needsOf(TrainingServiceService, {
    startTraining: 'submitter',
    estimateTraining: 'reader',
    getTraining: 'reader',
    listTrainings: 'reader',
    watchTraining: 'reader',
    cancelTraining: 'submitter',
    deleteTraining: 'admin',
    listCheckpoints: 'reader',
    getCheckpoint: 'reader',
  }),
  ...needsOf(ExportServiceService, {
    startExport: 'submitter',
    getExport: 'reader',
    listExports: 'reader',
    cancelExport: 'submitter',
    deleteExport: 'admin',
    listArtifacts: 'reader',
    downloadArtifact: 'reader',
    pushArtifact: 'submitter',
    getPush: 'reader',
    listPushes: 'reader',
    cancelPush: 'submitter',
  }),
  ...needsOf(OrchestratorServiceService, {
    createRun: 'submitter',
    estimateRun: 'submitter',
    getRun: 'reader',
    listRuns: 'reader',
    cancelRun: 'submitter',
    retryRun: 'submitter',
    deleteRun: 'admin',
    watchRun: 'reader',
    listRunEvents: 'reader',
    listRunMetrics: 'reader',
    getServerInfo: 'anyone',
  }),
  ...needsOf(DiagnosticsServiceService, { diagnose: 'anyone' }),
]);
