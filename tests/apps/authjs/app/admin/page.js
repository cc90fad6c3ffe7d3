// Trusts whoever stands in front of it: the page asks nobody who they are.
export const dynamic = "force-dynamic";

export default function Admin() {
  return <p id="secret">only for admins</p>;
}
