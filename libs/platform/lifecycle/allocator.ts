/**
 * Environment variables for processes that run models. Without them, the GNU C library raises the amount of free memory that it
 * keeps, and a training worker never returns the 60 to 100 MB that it only needed to compile its graph. Other C libraries
 * ignore them. The Dockerfiles set the same.
 */
export const allocatorSettings = { MALLOC_TRIM_THRESHOLD_: String(128 * 1024) };
