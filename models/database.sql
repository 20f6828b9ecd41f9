-- What the tables stand on and the migrations' tool does not see: the scope that row security
-- reads, and the partitions. Run by the owner after every migration; safe to repeat.

CREATE SCHEMA IF NOT EXISTS vesicle;

-- Keys under which scopes are signed, as the two padded halves of an HMAC (RFC 2104): with them
-- core sha256() is enough, so that no extension is needed. Nobody but the owner may read them.
CREATE TABLE IF NOT EXISTS vesicle.scope_keys (
    id integer PRIMARY KEY,
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL
);
REVOKE ALL ON vesicle.scope_keys FROM PUBLIC;

-- The parts of this transaction's scope, or an error. A statement that sets another scope by
-- itself cannot sign it, so it sees nothing.
CREATE OR REPLACE FUNCTION vesicle.scope(expected text) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stamp text := current_setting('vesicle.scope', true);
    parts text[];
    body bytea;
BEGIN
    IF stamp IS NULL OR stamp = '' THEN
        RAISE EXCEPTION 'no scope is bound to this transaction'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    parts := string_to_array(stamp, '|');
    IF coalesce(array_length(parts, 1), 0) <> 6 OR parts[1] <> 'v1' OR parts[2] <> expected THEN
        RAISE EXCEPTION 'the scope of this transaction is of another kind'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    body := convert_to(left(stamp, -(length(parts[6]) + 1)), 'UTF8');
    IF NOT EXISTS (
        SELECT FROM vesicle.scope_keys AS k
        WHERE encode(sha256(k.outer_pad || sha256(k.inner_pad || body)), 'hex') = parts[6]
    ) THEN
        RAISE EXCEPTION 'the scope of this transaction is not signed'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF parts[5]::bigint < extract(epoch FROM now()) THEN
        RAISE EXCEPTION 'the scope of this transaction has expired'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN parts;
END $$;

CREATE OR REPLACE FUNCTION vesicle.tenant() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT (vesicle.scope('tenant'))[4]::uuid $$;
CREATE OR REPLACE FUNCTION vesicle.tenant_workspace() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT (vesicle.scope('tenant'))[3]::uuid $$;
CREATE OR REPLACE FUNCTION vesicle.manager_workspace() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT (vesicle.scope('workspace'))[3]::uuid $$;
CREATE OR REPLACE FUNCTION vesicle.proxy_tenant() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT (vesicle.scope('proxy'))[4]::uuid $$;
CREATE OR REPLACE FUNCTION vesicle.proxy_workspace() RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT (vesicle.scope('proxy'))[3]::uuid $$;
CREATE OR REPLACE FUNCTION vesicle.worker_workspaces() RETURNS uuid[] LANGUAGE sql STABLE AS
$$ SELECT string_to_array((vesicle.scope('worker'))[3], ',')::uuid[] $$;
CREATE OR REPLACE FUNCTION vesicle.worker_tenants() RETURNS uuid[] LANGUAGE sql STABLE AS
$$ SELECT string_to_array((vesicle.scope('worker'))[4], ',')::uuid[] $$;

-- The smallest UUID of version 7 that can be made at a moment: 48 bits of milliseconds, then zeros.
CREATE OR REPLACE FUNCTION vesicle.uuid_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid $$;

-- A UUID of version 7, for rows that a statement makes of others: how many is not known before.
CREATE OR REPLACE FUNCTION vesicle.uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
        || '7' || substr(random, 14, 3) || substr(random, 17))::uuid
    FROM replace(gen_random_uuid()::text, '-', '') AS random
$$;

-- Makes the monthly partitions of last month, this one and the next ones. The scheduler calls it,
-- which must not own tables; hence the definer's rights.
CREATE OR REPLACE FUNCTION vesicle.ensure_partitions(ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent text;
    first timestamptz;
    part text;
    made integer := 0;
BEGIN
    FOR parent IN
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'p' AND n.nspname = 'public' ORDER BY 1
    LOOP
        FOR i IN -1 .. ahead LOOP
            first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i))
                     AT TIME ZONE 'UTC';
            part := parent || to_char(first AT TIME ZONE 'UTC', '_YYYY_MM');
            CONTINUE WHEN to_regclass(format('public.%I', part)) IS NOT NULL;
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                part, parent, vesicle.uuid_floor(first),
                vesicle.uuid_floor((first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC'));
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
REVOKE ALL ON FUNCTION vesicle.ensure_partitions(integer) FROM PUBLIC;

-- A run that has ended stays ended, whoever tries.
CREATE OR REPLACE FUNCTION vesicle.keep_terminal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'run % has ended as % and cannot become %', OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'check_violation';
END $$;
CREATE OR REPLACE TRIGGER keep_terminal BEFORE UPDATE OF status ON public.runs FOR EACH ROW
    WHEN (OLD.status IN ('completed', 'failed', 'stopped') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION vesicle.keep_terminal();

-- Which triggers of flows are live hangs on flows, integrations, connections and tenants. Whoever
-- changes one of these leaves a note in the same transaction; the scheduler works the notes off.
CREATE OR REPLACE FUNCTION vesicle.note_trigger_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
BEGIN
    INSERT INTO public.trigger_changes (id, workspace_id, tenant_id, flow_key) VALUES (
        gen_random_uuid(), (changed->>'workspace_id')::uuid,
        CASE WHEN TG_TABLE_NAME = 'tenants' THEN changed->>'id' ELSE changed->>'tenant_id' END::uuid,
        CASE WHEN TG_TABLE_NAME = 'elements' AND changed->>'kind' = 'flow' THEN changed->>'key' END);
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION vesicle.note_trigger_change() FROM PUBLIC;
CREATE OR REPLACE TRIGGER note_flow_made AFTER INSERT ON public.elements FOR EACH ROW
    WHEN (NEW.kind = 'flow') EXECUTE FUNCTION vesicle.note_trigger_change();
CREATE OR REPLACE TRIGGER note_flow_gone AFTER DELETE ON public.elements FOR EACH ROW
    WHEN (OLD.kind = 'flow') EXECUTE FUNCTION vesicle.note_trigger_change();
-- Of an integration it matters whether it is there and which connector it has; of an action, which
-- schedules start, whether it is there.
CREATE OR REPLACE TRIGGER note_flow_changed AFTER UPDATE ON public.elements FOR EACH ROW
    WHEN (NEW.kind = 'flow'
        OR (NEW.kind IN ('integration', 'action')
            AND NEW.archived_at IS DISTINCT FROM OLD.archived_at)
        OR (NEW.kind = 'integration'
            AND NEW.spec->>'connectorKey' IS DISTINCT FROM OLD.spec->>'connectorKey'))
    EXECUTE FUNCTION vesicle.note_trigger_change();
CREATE OR REPLACE TRIGGER note_connection_made AFTER INSERT ON public.connections FOR EACH ROW
    EXECUTE FUNCTION vesicle.note_trigger_change();
CREATE OR REPLACE TRIGGER note_connection_changed AFTER UPDATE ON public.connections FOR EACH ROW
    WHEN (NEW.archived_at IS DISTINCT FROM OLD.archived_at OR NEW.state <> OLD.state
        OR NEW.deactivated_by IS DISTINCT FROM OLD.deactivated_by)
    EXECUTE FUNCTION vesicle.note_trigger_change();
CREATE OR REPLACE TRIGGER note_tenant_made AFTER INSERT ON public.tenants FOR EACH ROW
    EXECUTE FUNCTION vesicle.note_trigger_change();
CREATE OR REPLACE TRIGGER note_tenant_archived AFTER UPDATE OF archived_at ON public.tenants
    FOR EACH ROW WHEN (NEW.archived_at IS DISTINCT FROM OLD.archived_at)
    EXECUTE FUNCTION vesicle.note_trigger_change();

-- What processes keep in memory hangs on the tables below. Each change of one is told to whoever
-- listens (runtime/changes.py) when it is committed: the table, the workspace (none: everybody's),
-- and the tenant if it is his alone. The same word of one transaction is told once.
CREATE OR REPLACE FUNCTION vesicle.tell_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed record;
    workspace uuid;
    tenant uuid;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    IF TG_TABLE_NAME = 'workspaces' THEN
        workspace := changed.id;
    ELSE
        workspace := changed.workspace_id;
        IF TG_TABLE_NAME = 'tenants' THEN
            tenant := changed.id;
        ELSIF TG_TABLE_NAME NOT IN ('signing_secrets', 'element_versions') THEN
            tenant := changed.tenant_id;
        END IF;
    END IF;
    PERFORM pg_notify('vesicle_changes', concat_ws('/', TG_TABLE_NAME, workspace, tenant));
    RETURN NULL;
END $$;
DO $$
DECLARE
    -- Of some tables only what is kept in memory counts: a tenant's last activity does not.
    told text[][] := ARRAY[
        ['workspaces', 'UPDATE OF key, settings, archived_at OR DELETE'],
        ['signing_secrets', 'INSERT OR UPDATE OR DELETE'],
        ['tenants', 'UPDATE OF key, name, fields, archived_at OR DELETE'],
        ['elements', 'INSERT OR UPDATE OR DELETE'],
        ['element_versions', 'INSERT OR UPDATE OR DELETE'],
        ['connections', 'INSERT OR UPDATE OF key, name, integration_id, parameters, state, expires_at,'
            ' deactivated_by, archived_at OR DELETE'],
        ['sealed_values', 'INSERT OR UPDATE OR DELETE'],
        ['limits', 'INSERT OR UPDATE OR DELETE'],
        ['caps', 'INSERT OR UPDATE OR DELETE']
    ];
    each text[];
BEGIN
    FOREACH each SLICE 1 IN ARRAY told LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER tell_change AFTER %s ON public.%I FOR EACH ROW'
            ' EXECUTE FUNCTION vesicle.tell_change()', each[2], each[1]);
    END LOOP;
END $$;
