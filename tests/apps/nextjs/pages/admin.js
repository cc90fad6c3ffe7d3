// Trusts whoever stands in front of it: the page asks nobody who they are.
export async function getServerSideProps() {
  return { props: { secret: "only for admins" } };
}

export default function Admin({ secret }) {
  return <p id="secret">{secret}</p>;
}
