SELECT
  r.*,
  s.title AS document,
  s.publisher,
  s.locator,
  c.inputs AS input_files,
  c.input_sha256,
  c.author AS loader,
  c.version AS commit_version,
  c.committed_at,
  c.message AS commit_message
FROM {rows} r
LEFT JOIN sources s ON s.source_id = r.source_id
LEFT JOIN {commits} c ON c.load_id = r.load_id
