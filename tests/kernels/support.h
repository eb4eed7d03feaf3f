/* Run kernel(args): 0, or the address that it touched and may not. */
uintptr_t fil_guarded(void (*kernel)(const void *), const void *args);
/* Memory of `bytes` between two pages that nobody may touch, at their inner ends: flush with the
 * page behind it, or with the page before it. NULL: none left. */
void *fil_guard(size_t bytes, int flush_with_end);
void fil_unguard(void *memory, size_t bytes);
/* Seconds of one kernel(args): each of `samples` is the mean of as many calls as fit in `least`
 * seconds. */
void fil_time(void (*kernel)(const void *), const void *args, double least, int samples,
              double *seconds);
