export * from './hyperparameters.ts';
