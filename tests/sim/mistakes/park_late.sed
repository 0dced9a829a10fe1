# SPDX-License-Identifier: MIT
# The sleeper looks for work first and then says that it sleeps.
s/cu_park_wait(&worker->park, ticket, /cu_park_wait(\&worker->park, cu_park_prepare(\&worker->park), /
