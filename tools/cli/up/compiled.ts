// The modules that nearly every process loads. This program only fills V8's compile cache (see `compileAhead`).
import '@pairwise/api';
import '@pairwise/config';
import '@pairwise/database';
import '@pairwise/durable';
import '@pairwise/lifecycle';
import '@pairwise/model';
import '@pairwise/ort';
import '@pairwise/rpc';
import '@pairwise/store';
import '@pairwise/telemetry';
import '@pairwise/training';
