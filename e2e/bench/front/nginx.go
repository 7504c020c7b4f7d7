package front

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// nginxHead is for both modules: one worker process for each core, as nginx.org advises.
const nginxHead = `%sworker_processes %d; error_log error.log; pid nginx.pid; user root; worker_rlimit_nofile 65536;
events { worker_connections 30000; }
`

// nginxStream is NGINX at layer 4.
func nginxStream(p *proxy, backends []string, _ int) (plan, error) {
	module, err := streamModule()
	if err != nil {
		return plan{}, err
	}
	servers := "zone b 256k; " + nginxPolicy(p.policy)
	for _, b := range backends {
		servers += fmt.Sprintf(" server %s max_fails=1 fail_timeout=10s;", b)
	}
	return p.nginx(module, fmt.Sprintf(`stream {
  upstream b { %s }
  server { listen 127.0.0.1:%d backlog=8192 reuseport; proxy_pass b; proxy_connect_timeout 1s; tcp_nodelay on; } }
`, servers, doorPort))
}

// nginxHTTP is NGINX at layer 7, with connections to the servers kept.
func nginxHTTP(p *proxy, backends []string, _ int) (plan, error) {
	servers := "zone b 256k; " + nginxPolicy(p.policy)
	for _, b := range backends {
		servers += fmt.Sprintf(" server %s max_fails=1 fail_timeout=10s;", b)
	}
	return p.nginx("", fmt.Sprintf(`http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  upstream b { %s keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:%d backlog=8192 reuseport;
    location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_connect_timeout 1s; proxy_read_timeout 5s;
      proxy_next_upstream error timeout; proxy_buffers 16 32k; proxy_max_temp_file_size 0; } } }
`, servers, doorPort))
}

func nginxPolicy(policy string) string {
	if policy == "least connections" {
		return "least_conn;"
	}
	return ""
}

func (p *proxy) nginx(head, body string) (plan, error) {
	bin, err := find("nginx", "nginx")
	if err != nil {
		return plan{}, err
	}
	conf, err := p.write("nginx.conf", fmt.Sprintf(nginxHead, head, runtime.NumCPU())+body)
	return plan{args: []string{bin, "-p", p.dir, "-e", "error.log", "-c", conf, "-g", "daemon off;"}, version: []string{bin, "-v"}}, err
}

// streamModule loads the module for layer 4, which Debian ships as a package of its own.
func streamModule() (string, error) {
	for _, dir := range []string{"/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"} {
		if found, _ := filepath.Glob(filepath.Join(dir, "ngx_stream_module.so")); len(found) == 1 {
			return "load_module " + found[0] + ";\n", nil
		}
	}
	bin, err := find("nginx", "nginx libnginx-mod-stream")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command(bin, "-V").CombinedOutput(); err == nil && strings.Contains(string(out), "--with-stream ") {
		return "", nil
	}
	_, err = find("ngx_stream_module", "libnginx-mod-stream")
	return "", err
}

// firstLine is the first line that a command prints.
func firstLine(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimPrefix(line, "nginx version: "), err
}
