// Two apps with PM2's keys. Try it from this folder: meshnode validate, then meshnode start ecosystem.config.js -env production
module.exports = {
  apps: [
    {
      name: 'web',
      script: 'server.js',
      instances: 'max', // on each server; max is one worker for each core
      env: { NODE_ENV: 'development' },
      env_production: { NODE_ENV: 'production' },
      max_memory_restart: '500M',
      kill_timeout: '10s', // a bare number would be in milliseconds
    },
    {
      name: 'nightly',
      script: 'job.sh',
      namespace: 'batch', // meshnode stop batch
      cron_restart: '0 4 * * *',
      autorestart: false,
    },
  ],
};
