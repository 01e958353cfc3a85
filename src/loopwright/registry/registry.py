"""The registry: finished runs become numbered model versions, and versions are found and loaded again.

Registering writes all bytes first and makes them visible in one transaction of the facts. A process that dies before
that transaction leaves no version; registering the same run again gives one version, whatever happened before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from loopwright.core.errors import RefusedError, StoreBusyError, UnknownNameError
from loopwright.core.ref import Ref
from loopwright.registry.compile import compile_model
from loopwright.registry.forms import settle_forms
from loopwright.registry.golden import Golden, choose_rows, rows_of
from loopwright.registry.native import NativeModel, Predicts
from loopwright.registry.package import LoadedModel
from loopwright.registry.signature import Signature, output_spec
from loopwright.registry.trail import aliases
from loopwright.registry.trust import vouch
from loopwright.registry.version import ModelVersion, model_versions, version_of_row
from loopwright.training.estimators.choice import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from loopwright.core.storage.stores import Stores
    from loopwright.registry.candidate import Candidate

LATEST = "latest"
NUMBER_ATTEMPTS = 20
"""How often a number is drawn anew on a store that lets writers run side by side."""


class Registry:
    """Register, find and load model versions.

    Any number of processes may register at once: the numbers of a model run 1, 2, 3 … without a gap or a repeat.

    Args:
        stores: The stores of the workspace.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def register(self, candidate: Candidate, *, on_stage: Callable[[str], None] | None = None) -> ModelVersion:
        """Make a finished run a model version; the same run again gives the same version.

        Args:
            candidate: What the run hands over.
            on_stage: Called with ``compiled``, ``stored`` and ``recorded`` as they are reached.

        Raises:
            StoreCorruptError: When the model file is not the one that the run wrote.
            DeclarationError: When the model answers in a way that a version cannot (several outputs, no rows).
        """
        reached = on_stage or _ignore
        known = self.find_by_run(candidate.model, candidate.run_id)
        if known is not None:
            return known
        record = candidate.model_file
        estimator = cast("Predicts", load_model(record, candidate.model_path, trusted=record.trusted_types))
        table = choose_rows(candidate.training_rows.select([field.name for field in candidate.fields]))
        rows = rows_of(table, candidate.fields)
        native = NativeModel(estimator, candidate.fields)
        outputs = native.predict(rows)
        signature = Signature(candidate.fields, native.output or output_spec(estimator, outputs.values))
        compilation = compile_model(native, signature, rows)
        library, choice = settle_forms(native, signature, rows, compilation)
        reached("compiled")
        blobs = self._stores.blobs
        path = candidate.model_path
        blobs.put_file(path / record.file_name if path.is_dir() else path)
        if compilation.graph is not None:
            blobs.put(compilation.graph)
        draft = ModelVersion(
            model=candidate.model,
            version=0,
            run_id=candidate.run_id,
            created_at=self._stores.clock.now(),
            signature=signature,
            model_file=record,
            golden_digest=blobs.put(Golden(table, outputs).to_bytes()),
            assembly_digest=blobs.put(candidate.assembly),
            definition_digest=None if candidate.definition is None else blobs.put(candidate.definition),
            training_set=candidate.training_set,
            compiled=compilation.form,
            not_compiled_because=compilation.reason,
            library=library,
            choice=choice,
            metrics=candidate.metrics,
            parameters=candidate.parameters,
            description=candidate.description,
            notes=candidate.notes,
        )
        reached("stored")
        registered = self.record(draft, reason=f"packaged here from run {draft.run_id}")
        reached("recorded")
        return registered

    def record(self, draft: ModelVersion, *, reason: str | None) -> ModelVersion:
        """Give a version whose bytes are stored its number and make it visible, in one transaction.

        Args:
            draft: The version; its number is not looked at.
            reason: Why this workspace vouches for the code in it; None where it does not.

        Raises:
            StoreBusyError: When other processes took every number that was tried.
        """
        for _ in range(NUMBER_ATTEMPTS):
            try:
                return self._record_once(draft, reason)
            except sa.exc.IntegrityError:  # PostgreSQL: another writer took the number or registered the run
                continue
        raise StoreBusyError(f"no version number of '{draft.model}' could be had in {NUMBER_ATTEMPTS} attempts")

    def _record_once(self, draft: ModelVersion, reason: str | None) -> ModelVersion:
        table = model_versions
        with self._stores.facts.write() as connection:
            same_run = (table.c.model == draft.model) & (table.c.run_id == draft.run_id)
            row = connection.execute(sa.select(table).where(same_run)).one_or_none()
            if row is not None:
                known = version_of_row(row)
                self._vouch(connection, known, reason)
                return known
            newest = connection.execute(
                sa.select(sa.func.max(table.c.version)).where(table.c.model == draft.model)
            ).scalar()
            number = (newest or 0) + 1
            connection.execute(
                table.insert().values(
                    model=draft.model,
                    version=number,
                    run_id=draft.run_id,
                    created_at=draft.created_at,
                    record=draft.record(),
                )
            )
            registered = ModelVersion.from_record(
                draft.record(), model=draft.model, version=number, run_id=draft.run_id, created_at=draft.created_at
            )
            self._vouch(connection, registered, reason)
            run = Ref("run", draft.run_id)
            self._stores.lineage.link_many(
                [(draft.training_set, run, "trained on"), (run, registered.ref, "registered as")],
                connection=connection,
            )
            return registered

    def _vouch(self, connection: sa.Connection, version: ModelVersion, reason: str | None) -> None:
        if reason is not None:
            now = self._stores.clock.now()
            vouch(self._stores.facts, connection, version.code_digests, reason=reason, trusted_at=now)

    def get(self, model: str, which: int | str = LATEST) -> ModelVersion:
        """Find a version by number, by alias, or the newest one that is not archived.

        Args:
            model: Name of the model, or a whole id such as ``eta/3``.
            which: A number, the name of an alias, or ``latest``.

        Raises:
            UnknownNameError: When there is no such model, version or alias.
        """
        name, slash, number = model.rpartition("/")
        if slash and number.isdigit():
            model, which = name, int(number)
        if isinstance(which, str) and which.isdigit():
            which = int(which)
        table = model_versions
        query = sa.select(table).where(table.c.model == model)
        if isinstance(which, int):
            query = query.where(table.c.version == which)
        elif which == LATEST:
            query = query.where(table.c.archived_at.is_(None)).order_by(table.c.version.desc()).limit(1)
        else:
            query = query.join(
                aliases, (aliases.c.model == table.c.model) & (aliases.c.version == table.c.version)
            ).where(aliases.c.alias == which)
        with self._stores.facts.read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise self._unknown(connection, model, which)
        return version_of_row(row)

    def find_by_run(self, model: str, run_id: str) -> ModelVersion | None:
        """Give the version that a run became, or None."""
        table = model_versions
        with self._stores.facts.read() as connection:
            row = connection.execute(
                sa.select(table).where((table.c.model == model) & (table.c.run_id == run_id))
            ).one_or_none()
        return None if row is None else version_of_row(row)

    def models(self) -> list[str]:
        """Name the models that have a version."""
        with self._stores.facts.read() as connection:
            query = sa.select(model_versions.c.model).distinct().order_by(model_versions.c.model)
            return list(connection.execute(query).scalars())

    def versions(self, model: str | None = None, *, archived: bool = False) -> list[ModelVersion]:
        """List versions, newest first within each model.

        Args:
            model: One model, or all.
            archived: List archived versions too.
        """
        table = model_versions
        query = sa.select(table).order_by(table.c.model, table.c.version.desc())
        if model is not None:
            query = query.where(table.c.model == model)
        if not archived:
            query = query.where(table.c.archived_at.is_(None))
        with self._stores.facts.read() as connection:
            return [version_of_row(row) for row in connection.execute(query)]

    def load(self, version: ModelVersion, *, trust: Collection[str] = (), native: bool = False) -> LoadedModel:
        """Load a version, ready to answer.

        Args:
            version: What to load.
            trust: Digests of code that the caller vouches for beyond those on record.
            native: Load the native form even where a compiled one exists.

        Raises:
            UntrustedError: When the version holds code that nobody vouched for.
            StoreCorruptError: When bytes do not match their digest.
        """
        return LoadedModel(self._stores, version, trust=trust, native=native)

    def archive(self, version: ModelVersion) -> ModelVersion:
        """Put a version away: it is not listed and not ``latest`` any more, and stays readable.

        Raises:
            RefusedError: When an alias points to it.
        """
        table = model_versions
        this = (table.c.model == version.model) & (table.c.version == version.version)
        with self._stores.facts.write() as connection:
            pointing = connection.execute(
                sa.select(aliases.c.alias).where(
                    (aliases.c.model == version.model) & (aliases.c.version == version.version)
                )
            ).scalars()
            names = sorted(pointing)
            if names:
                raise RefusedError(
                    f"{version.id} cannot be archived: {', '.join(names)} points to it.", hint="Move the alias first."
                )
            connection.execute(table.update().where(this).values(archived_at=self._stores.clock.now()))
        return self.get(version.model, version.version)

    def collectable(self, *, in_use: Collection[str] = ()) -> list[ModelVersion]:
        """List the versions whose bytes nothing needs: archived, without an alias, not in `in_use`.

        Args:
            in_use: Ids of versions that others hold, such as the champion and challenger of a release.
        """
        with self._stores.facts.read() as connection:
            pointed = {
                f"{row.model}/{row.version}"
                for row in connection.execute(sa.select(aliases.c.model, aliases.c.version))
            }
        kept = pointed | set(in_use)
        return [v for v in self.versions(archived=True) if v.archived_at is not None and v.id not in kept]

    def collectable_digests(self, *, in_use: Collection[str] = ()) -> set[str]:
        """Give the blobs that only collectable versions name."""
        gone = {version.id: version for version in self.collectable(in_use=in_use)}
        needed = {d for v in self.versions(archived=True) if v.id not in gone for d in v.digests}
        return {digest for version in gone.values() for digest in version.digests} - needed

    @staticmethod
    def _unknown(connection: sa.Connection, model: str, which: int | str) -> UnknownNameError:
        table = model_versions
        numbers = list(connection.execute(sa.select(table.c.version).where(table.c.model == model)).scalars())
        if not numbers:
            known = connection.execute(sa.select(table.c.model).distinct()).scalars()
            hint = "No version is registered yet; run: loopwright run"
            return UnknownNameError("model", model, known, hint=hint)
        if isinstance(which, int):
            return UnknownNameError("model version", f"{model}/{which}", [f"{model}/{number}" for number in numbers])
        names = connection.execute(sa.select(aliases.c.alias).where(aliases.c.model == model)).scalars()
        return UnknownNameError(f"alias of '{model}'", which, names)


def _ignore(stage: str) -> None:
    """Take no notice of a stage."""
