/* SPDX-License-Identifier: MIT */
/*
 * api_health - what /actuator/health says of the api: its components, its
 * liveness, its readiness.  From what background threads last saw: nothing
 * here borrows, connects or waits.
 */
#ifndef API_HEALTH_H
#define API_HEALTH_H

struct api;

/* Before anything is started; the functions are called once servers run. */
void api_health_register(struct api *api);

#endif
