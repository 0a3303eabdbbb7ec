import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { unpackedPackage } from "../test/peer/unpacked-package.ts";

/** nginx with sendfile and a worker for each processor, as Debian sets it up; `locations` is the server's part of its configuration. */
export function nginxArgv(directory: string, listen: string, locations: string): readonly string[] {
  const config = join(directory, "nginx.conf");
  writeFileSync(
    config,
    `daemon off; user root; worker_processes auto; pid ${directory}/nginx.pid; error_log ${directory}/error.log;
events { worker_connections 1024; }
http {
  access_log ${directory}/access.log; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path ${directory}; proxy_temp_path ${directory}; fastcgi_temp_path ${directory};
  uwsgi_temp_path ${directory}; scgi_temp_path ${directory};
  server { listen ${listen}; ${locations} }
}
`,
  );
  return [join(unpackedPackage("nginx"), "usr/sbin/nginx"), "-p", directory, "-c", config];
}
