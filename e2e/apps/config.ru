# A Rack app for puma: it says who it is. /?ms=300 takes its time.
require 'json'
require 'uri'
run lambda { |env|
  sleep(URI.decode_www_form(env['QUERY_STRING']).to_h.fetch('ms', '0').to_i / 1000.0)
  [200, { 'content-type' => 'application/json' },
   [{ node: ENV['MESHNODE_NODE'], worker: ENV['NODE_APP_INSTANCE'], pid: Process.pid, remote: env['REMOTE_ADDR'] }.to_json]]
}
