#!/bin/sh
# NGINX as a worker: it listens on its private port, expects a PROXY protocol header there, and answers with what that says.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/nginx.conf" <<END
daemon off;
pid $dir/pid;
worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  server {
    listen 127.0.0.1:$PORT proxy_protocol;
    location / {
      return 200 "\$proxy_protocol_addr:\$proxy_protocol_port \$proxy_protocol_server_addr:\$proxy_protocol_server_port";
    }
  }
}
END
nginx -e stderr -c "$dir/nginx.conf" &
trap 'kill -QUIT $!' TERM
while ! wait $!; do kill -0 $! 2>/dev/null || break; done
