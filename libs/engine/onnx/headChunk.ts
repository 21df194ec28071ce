/** How many rows of the head are multiplied at a time, if nothing else is asked for. */
export const headChunkRows = 8192;
