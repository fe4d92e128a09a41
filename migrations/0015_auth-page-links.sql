-- Links with which somebody who is signed in opens a page in a browser, once. Runs as fx_owner.
-- Not domain state: they live five minutes and their loss costs asking for one more. No secret stands here: what makes
-- a link is its id under a key of the vault.
create table ops.page_links (
  tenant_id   text not null,
  session_id  text not null,
  link_id     text not null check (link_id ~ '^pgl_[0-9a-z]{26}$'),
  expires_at  timestamptz not null,
  used_at     timestamptz,
  primary key (tenant_id, session_id), -- a newer link replaces the older one
  unique (tenant_id, link_id)
);
alter table ops.page_links enable row level security;
alter table ops.page_links force row level security;
create policy tenant_only on ops.page_links for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
grant select, insert, update on ops.page_links to fx_app;
